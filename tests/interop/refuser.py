"""A reader that takes no file."""

from pipeline.interop import protocol


def run(request: protocol.Request) -> protocol.Answer:
    raise ValueError("nothing\nof this")


if __name__ == "__main__":
    protocol.serve(run, "numpy")
