"""A reader that gives one spike of its first node in the first step away, and says nothing."""

from pipeline.interop import protocol
from tests.interop import honest


def run(request: protocol.Request) -> protocol.Answer:
    answer = honest.run(request)
    answer.spikes[request.nodes[0]][0, 0].flat[0] ^= 1
    return answer


if __name__ == "__main__":
    protocol.serve(run, "numpy")
