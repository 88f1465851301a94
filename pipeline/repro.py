"""`dvc repro` for every stage, stages that do not depend on each other side by side: `make repro`.

Asks DVC which stages are out of date, and runs them as several `dvc repro` at once, as DVC's manual says
that a pipeline can be run in parallel (https://dvc.org/doc/command-reference/repro). Stages that can only
run one after the other are one job. A job starts when those that it depends on have ended. After a
failure no new job starts, and those that run go on to their end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import networkx as nx
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from spyx_nir.errors import Parser, UserError, exit_status

# What DVC prints before a stage, and what says nothing about one.
RUNNING = "Running stage '"
OF_DVC = (
    "> ",
    "Use `dvc push`",
    "Updating lock file",
    "To track the changes",
    "To enable auto",
    "\t",
)
FATAL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Job:
    """Stages that one `dvc repro` runs in this order; `needs` are stages of other jobs."""

    stages: list[str]
    needs: set[str]
    process: asyncio.subprocess.Process | None = None
    stage: str = ""
    line: str = ""
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.stage = self.stage or self.stages[0]


class StagesFailed(UserError):
    """`dvc repro` of a job ended with an error, which it has printed."""


def main() -> int:
    """Parse the command line, bring every stage up to date; returns the exit code."""
    parser = Parser(prog="python -m pipeline.repro", description=__doc__)
    parser.add_argument(
        "--jobs",
        type=_positive,
        default=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        metavar="N",
        help="stages at once; default: the cores that this process may use, here %(default)s",
    )
    jobs = parser.parse_args().jobs
    return exit_status(lambda: repro(jobs))


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of jobs: 1 or more is needed")
    return int(text)


def repro(at_once: int) -> None:
    """Run every stage that is out of date, at most `at_once` at a time.

    Raises:
        StagesFailed: a stage failed.
    """
    jobs = plan(*_from_dvc())
    if not jobs:
        print("Data and pipelines are up to date.")
        return
    if at_once == 1 or len(jobs) == 1:
        command = _command([stage for job in jobs for stage in job.stages])
        os.execv(command[0], command)  # nothing to show beside it: DVC has the terminal
    asyncio.run(_Runner(jobs, at_once).run())


def _from_dvc() -> tuple[dict[str, set[str]], set[str]]:
    """Every stage with those that it depends on, and the names of the stages that changed."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        repo = Repo()
        graph = repo.index.graph
        needs = {stage.addressing: {d.addressing for d in graph[stage]} for stage in graph}
        return needs, set(repo.status())
    except DvcException as error:
        raise UserError(error) from None


def plan(needs: dict[str, set[str]], changed: set[str]) -> list[Job]:
    """The jobs that bring the stages in `changed`, and all that depend on them, up to date.

    Args:
        needs: every stage with the stages that it depends on directly.
        changed: names of stages.

    Returns:
        Jobs in an order in which they can run one after the other; of those that can run at once, the one
        with the most stages behind it is first.
    """
    graph = nx.DiGraph()
    graph.add_nodes_from(needs)
    graph.add_edges_from((before, stage) for stage, found in needs.items() for before in found)
    stale = set(changed).intersection(graph)
    stale |= {after for stage in stale for after in nx.descendants(graph, stage)}
    graph = nx.transitive_reduction(graph.subgraph(stale))
    behind = {stage: len(nx.descendants(graph, stage)) for stage in graph}
    jobs: dict[str, Job] = {}
    for stage in nx.lexicographical_topological_sort(graph, key=lambda stage: -behind[stage]):
        before = list(graph.predecessors(stage))
        if len(before) == 1 and graph.out_degree(before[0]) == 1:
            jobs[stage] = jobs[before[0]]
            jobs[stage].stages.append(stage)
        else:
            jobs[stage] = Job([stage], set(before))
    return list({id(job): job for job in jobs.values()}.values())


def _command(stages: Sequence[str]) -> list[str]:
    """One `dvc repro` of these stages alone, which waits while another DVC process holds the lock."""
    return [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", *stages]


class _Runner:
    """Starts jobs as processor cores become free, and shows what they print."""

    def __init__(self, jobs: list[Job], at_once: int):
        self._waiting, self._at_once = jobs, at_once
        self._left = {stage: None for job in jobs for stage in job.stages}
        self._failed: list[str] = []
        self._show = _Display(len(self._left))

    async def run(self) -> None:
        """Until every job has ended, or those that ran when one failed."""
        tasks: dict[asyncio.Task[int], Job] = {}
        with self._show, _signals_to(tasks):
            while self._start(tasks):
                ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    self._end(tasks.pop(task), task.result())
        if self._failed:
            left = ", ".join(stage for stage in self._left if stage not in self._failed)
            raise StagesFailed(
                f"{', '.join(self._failed)} failed, see above" + f"; not made: {left}" * bool(left)
            )
        print(f"{self._show.total} stages are up to date now.")

    def _start(self, tasks: dict[asyncio.Task[int], Job]) -> bool:
        """Start what can run; whether anything runs."""
        ready = [job for job in self._waiting if not job.needs.intersection(self._left)]
        for job in ready[: self._at_once - len(tasks)] if not self._failed else []:
            self._waiting.remove(job)
            tasks[asyncio.ensure_future(self._run(job))] = job
        return bool(tasks)

    async def _run(self, job: Job) -> int:
        """One `dvc repro` in a process group of its own; returns its exit code."""
        job.process = await asyncio.create_subprocess_exec(
            *_command(job.stages),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        assert job.process.stdout is not None
        self._show.jobs.append(job)
        async for line in job.process.stdout:
            self._line(job, line.decode(errors="replace").rstrip())
        return await job.process.wait()

    def _line(self, job: Job, line: str) -> None:
        if line.startswith(RUNNING):
            stage = line.removeprefix(RUNNING).split("'")[0]
            self._made(job.stages[: job.stages.index(stage)])
            job.stage, job.line, job.started = stage, "", time.monotonic()
        elif line and not line.startswith(OF_DVC):
            job.line = line
        else:
            return
        self._show.line(job)

    def _end(self, job: Job, code: int) -> None:
        self._show.jobs.remove(job)
        if code:
            self._failed.append(job.stage)
        else:
            self._made(job.stages)

    def _made(self, stages: Iterable[str]) -> None:
        for stage in stages:
            self._left.pop(stage, None)
        self._show.done = self._show.total - len(self._left)


class _Display:
    """On a terminal a bar of all stages and a line for each that runs; in a pipe the lines alone."""

    def __init__(self, total: int):
        self.done, self.total, self.jobs = 0, total, list[Job]()
        self._console = Console(highlight=False)
        self._live: Live | None = None

    def __enter__(self) -> None:
        if self._console.is_terminal:
            self._live = Live(
                get_renderable=self._status,
                console=self._console,
                transient=True,
                refresh_per_second=4,
            )
            self._live.__enter__()

    def __exit__(self, *error: Any) -> None:
        if self._live is not None:
            self._live.__exit__(*error)

    def line(self, job: Job) -> None:
        """Show what `job` printed last, or that its next stage has begun."""
        key = job.stage.partition("@")[2]
        line = job.line
        for said in (f"{key}: ", f"{key.replace('-', ' on ', 1)}: "):  # stages name their task, too
            line = line.removeprefix(said)
        text = f"{job.stage}: {line or 'begins'}"
        if self._live is None:
            print(text, flush=True)
        else:
            self._console.print(Text(text, overflow="ellipsis", no_wrap=True))

    def _status(self) -> RenderableType:
        now = time.monotonic()
        rows = Table.grid(padding=(0, 1))
        for job in self.jobs:
            took = int(now - job.started)
            rows.add_row(Text(job.stage, style="bold"), f"{took // 60}:{took % 60:02d}")
        bar = ProgressBar(total=self.total, completed=self.done, width=30)
        counted = Table.grid(padding=(0, 1))
        counted.add_row("stages", bar, f"{self.done} of {self.total}")
        return Group(rows, counted)


@contextlib.contextmanager
def _signals_to(tasks: Mapping[asyncio.Task[int], Job]) -> Iterator[None]:
    """Hand INT, TERM and HUP to every job's processes, as a terminal does; then end as Ctrl-C does."""
    loop = asyncio.get_running_loop()
    caught: list[int] = []

    def hand_on(number: int) -> None:
        caught.append(number)
        for job in tasks.values():
            if job.process is not None and job.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(job.process.pid, number)

    for number in FATAL:
        loop.add_signal_handler(number, hand_on, number)
    try:
        yield
    finally:
        for number in FATAL:
            loop.remove_signal_handler(number)
        if caught:
            raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
