"""A program that talks over standard input and output, behind a serial port (a pseudo-terminal).

`python -m bench.silicon.pty_bridge PROGRAM ARGUMENT...` prints the port and serves until the program
ends: c/host.c with an argument, an emulator with `-serial stdio`, a simulated UART.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import termios
import threading
import tty
from collections.abc import Callable, Sequence
from typing import Self

Change = Callable[[bytes], bytes]  # what becomes of bytes on the way


class Bridge:
    """`with Bridge(command) as bridge:` the program runs; `bridge.port` is its serial port."""

    def __init__(
        self,
        command: Sequence[str],
        to_program: Change = lambda data: data,
        from_program: Change = lambda data: data,
    ) -> None:
        """to_program, from_program: change bytes on the way, for tests of a faulty line."""
        self.command, self.to_program, self.from_program = command, to_program, from_program

    def __enter__(self) -> Self:
        # The bridge holds the port's own end open too: a terminal that nobody has open reads as ended.
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        self.port = os.ttyname(self.slave)
        self.program = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.program.stdin is not None and self.program.stdout is not None
        self.ends = os.pipe()  # closing it ends `_to`
        from_fd, to_fd = self.program.stdout.fileno(), self.program.stdin.fileno()
        self.threads = [
            threading.Thread(target=self._to, args=(to_fd,), daemon=True),
            threading.Thread(target=self._from, args=(from_fd,), daemon=True),
        ]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.program.kill()
        self.program.wait()
        os.close(self.ends[1])
        termios.tcflush(self.slave, termios.TCIOFLUSH)  # what nobody reads would block `_from`
        for thread in self.threads:
            thread.join(5)
        for end in (self.program.stdin, self.program.stdout):
            assert end is not None
            end.close()
        for number in (self.master, self.slave, self.ends[0]):
            os.close(number)

    def wait(self) -> int:
        """The exit code of the program, when it ends."""
        return self.program.wait()

    def _to(self, program: int) -> None:
        while True:
            ready, _, _ = select.select([self.master, self.ends[0]], [], [])
            if self.ends[0] in ready:
                return
            _write(program, self.to_program(os.read(self.master, 65536)))

    def _from(self, program: int) -> None:
        while data := os.read(program, 65536):
            _write(self.master, self.from_program(data))


class SimulatedBridge(Bridge):
    """A simulated serial port (uart_bench.v) behind a real one; time passes there while nobody sends."""

    IDLE = 200  # waits without an answer, then the simulator rests until somebody sends

    def _to(self, program: int) -> None:
        quiet = 0
        while True:
            rest = 0.01 if quiet > self.IDLE else 0.0
            ready, _, _ = select.select([self.master, self.ends[0]], [], [], rest)
            if self.ends[0] in ready:
                return
            data = self.to_program(os.read(self.master, 4096)) if ready else b""
            for start in range(0, max(len(data), 1), 64):
                part = data[start : start + 64]
                tokens = [b"B" + bytes([byte]) for byte in part] or [b"W"] * 16
                _write(program, b"".join(tokens))
                answered = self._answers(len(tokens))
                quiet = 0 if part or answered else quiet + 1

    def _answers(self, count: int) -> bool:
        """Read up to that many `K`; whether the board sent something."""
        assert self.program.stdout is not None
        found = bytearray()
        while count:
            token = self.program.stdout.read(1)
            if token == b"D":
                found += self.program.stdout.read(1)
            elif token == b"K":
                count -= 1
            else:
                break  # the simulator ended, or a byte had no stop bit
        _write(self.master, self.from_program(bytes(found)))
        return bool(found)

    def _from(self, program: int) -> None:
        """`_to` reads what the simulator says."""


def _write(number: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(number, data) :]
        except BrokenPipeError:
            return


def main() -> int:
    with Bridge(sys.argv[1:]) as bridge:
        print(bridge.port, flush=True)
        return bridge.wait()


if __name__ == "__main__":
    sys.exit(main())
