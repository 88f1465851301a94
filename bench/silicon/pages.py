"""The tables of docs/deploy-fpga.md and docs/deploy-microcontroller.md, from metrics/.

`make silicon` ends in it. Whatever is between a line `<!-- name: written by `make silicon` -->` and the
line `<!-- end of name -->` is replaced.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from spyx_nir import files
from spyx_nir.errors import UserError, exit_status
from spyx_nir.hardware import profile

ROOT = Path(__file__).parent.parent.parent
BEGIN = "<!-- {}: written by `make silicon` -->\n"
END = "\n<!-- end of {} -->"
TITLES = {"braille": "Braille", "nmnist": "N-MNIST", "ice40-up5k": "UP5K", "ecp5-25k": "ECP5-25"}
DESIGNS = (("braille", "ice40-up5k"), ("braille", "ecp5-25k"), ("nmnist", "ecp5-25k"))
TASKS = ("braille", "nmnist")
CLOCK_HZ = 180e6  # of the Cortex-M4 of Boretti et al.
BORETTI_US = 150.4  # doi 10.1109/ISCAS46773.2023.10181998: a step, worst case
OTHERS = (
    "| Spiker+ ([arXiv:2401.01141](https://arxiv.org/abs/2401.01141)), XC7Z020 | MNIST, dense "
    "| 7,612 | 18 | 780 us | 93.85 % |",
    "| Flexi-NeurA ([arXiv:2602.18140](https://arxiv.org/abs/2602.18140)) | MNIST, dense 256-128-10 "
    "| 1,623 | 7 | 1.1 ms | 97.23 % |",
)
NETWORKS = {"braille": "Braille, recurrent 12-38-7", "nmnist": "N-MNIST, convolutional"}
Found = dict[str, dict[str, Any]]


def read(root: Path) -> Found:
    """`emulated/`, `metrics/` and `fit/<task>-<target>` -> what is in the file.

    Raises:
        UserError: one is missing.
    """
    found: Found = {}
    for task, target in (*DESIGNS, *((task, "cortex-m") for task in TASKS)):
        name = f"{task}-{target}"
        for kind, path in (
            ("emulated", root / "metrics" / "emulated" / f"{name}.json"),
            ("metrics", root / "metrics" / f"{name}.json"),
            ("fit", root / "models" / task / "deploy" / target / "fit.json"),
        ):
            if not path.exists():
                raise UserError(f"{path.relative_to(root)}: not there; run make repro silicon")
            found[f"{kind}/{name}"] = json.loads(path.read_text(encoding="utf-8"))
    return found


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown."""
    names = list(head)
    lines = [names, ["---"] * len(names), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def count(value: float) -> str:
    return f"{round(value):,}"


def seconds(value: float) -> str:
    """Three digits at most: us below a millisecond, else ms."""
    scaled, unit = (1e6 * value, "us") if value < 1e-3 else (1e3 * value, "ms")
    return f"{scaled:.0f} {unit}" if scaled >= 100 else f"{scaled:.3g} {unit}"


def designs(found: Found) -> str:
    """The whole design of each board, and what was simulated."""
    columns = []
    for task, target in DESIGNS:
        name = f"{task}-{target}"
        made, metrics = found[f"emulated/{name}"], found[f"metrics/{name}"]
        chip = profile.load(target)
        board, seen, cells = made["on_board"], made["simulated"], made["netlist"]
        fit = {row["resource"]: row for row in found[f"fit/{name}"]["utilisation"]}
        rams, model = fit["block RAMs"], metrics["real_time"]
        step = board["seconds_per_step"]
        bin_s = model["step_us"] / 1e6
        columns.append(
            (
                f"{TITLES[task]}, {TITLES[target]}",
                f"{board['board']}, {board['clock_hz'] / 1e6:g} MHz",
                f"{count(board['cells'])} of {count(chip['fpga.cells'])}",
                count(board["flip_flops"]),
                f"{rams['used']}, {board['block_rams']} of {rams['limit']}",
                f"{board['multipliers']} of {chip['fpga.multipliers']}",
                f"{board['f_max_hz'] / 1e6:.1f} MHz",
                ", ".join(count(seen["cycles_per_step"][key]) for key in ("mean", "most")),
                f"{seen['recordings']}",
                *(
                    f"{count(one['spike_entries'])}, {count(one['state_entries'])}, {one['differing']}"
                    for one in (seen, cells)
                ),
                f"{count(model['mean'])}, {count(model['most'])}",
                f"{seconds(step['mean'])}, {seconds(step['most'])} of {1e3 * bin_s:g} ms",
                f"{bin_s / step['mean']:.0f}, {bin_s / step['most']:.0f}",
            )
        )
    names = (
        "",
        "board",
        "cells with a LUT",
        "flip-flops",
        "block RAMs: counted by `fit`, placed",
        "multipliers",
        "highest clock",
        "cycles a step, simulated: mean, most",
        "golden recordings",
        "Verilog: spikes, states compared, differing",
        "netlist: spikes, states compared, differing",
        "cycles a step, modelled: mean of the test set, worst case",
        "a step at the board's clock, simulated: mean, most",
        "times real time: mean, least",
    )
    head, *rows = zip(names, *columns, strict=True)
    return table(head, rows)


def networks(found: Found) -> str:
    """The network alone, without serial port and board."""
    head, cells, memory, clock = (
        ["", "cells, flip-flops", "block RAMs, multipliers", "highest clock"],
        *([] for _ in range(3)),
    )
    titles = [head[0]]
    for task, target in DESIGNS:
        one = found[f"emulated/{task}-{target}"]["placed"]
        titles.append(f"{TITLES[task]}, {TITLES[target]}")
        cells.append(f"{count(one['cells'])}, {count(one['flip_flops'])}")
        memory.append(f"{one['block_rams']}, {one['multipliers']}")
        clock.append(f"{one['f_max_hz'] / 1e6:.1f} MHz")
    return table(titles, ([head[1], *cells], [head[2], *memory], [head[3], *clock]))


def answers(found: Found, rows: Iterable[tuple[str, str]]) -> str:
    """Right answers as trained, after PTQ, after QAT."""
    lines = []
    for title, name in rows:
        accuracy = found[f"metrics/{name}"]["accuracy"]
        right = accuracy["float"]
        lines.append(
            [
                title,
                f"{right['correct']} of {right['n']}",
                *(str(accuracy[key]["correct"]) for key in ("ptq", "integer")),
            ]
        )
    return table(("task", "right answers as trained", "PTQ", "QAT, in integers"), lines)


def generators(found: Found) -> str:
    """Other generators of Verilog, and ours."""
    lines = []
    for task, target in (DESIGNS[0], DESIGNS[2]):
        made = found[f"emulated/{task}-{target}"]
        board, right = made["on_board"], found[f"metrics/{task}-{target}"]["accuracy"]["integer"]
        steps = made["simulated"]["steps"]
        lines.append(
            f"| here, {TITLES[target]}, {board['clock_hz'] / 1e6:g} MHz "
            f"| {NETWORKS[task]}, {steps} steps "
            f"| {count(board['cells'])} | {board['block_rams']} "
            f"| {seconds(steps * board['seconds_per_step']['mean'])} "
            f"| {right['correct']} of {right['n']}, simulated recordings |"
        )
    head = table(("", "network", "cells", "block RAMs", "a recording", "accuracy"), ())
    return "\n".join([head, *OTHERS, *lines])


def cores(found: Found) -> str:
    """Emulated cores, compiled ones, and this computer."""
    rows = []
    for task in TASKS:
        made = found[f"emulated/{task}-cortex-m"]
        for one in made["emulated"]:
            steps = one["instructions_per_step"]
            rows.append(
                (
                    TITLES[task],
                    _core(one),
                    f"{count(steps['mean'])}, {count(steps['most'])}",
                    f"{one['instructions_per_synaptic_operation']:.1f}",
                    f"{count(one['flash'])}, {count(one['ram'])}",
                    _entries(one),
                    str(one["differing"]),
                )
            )
        rows += [
            (TITLES[task], f"{_core(one)}, not run", "", "",
             f"{count(one['flash'])}, {count(one['ram'])}", "", "")
            for one in made["compiled"]
        ]  # fmt: skip
        if host := made["host_golden"]:
            entries = _entries(host)
            rows.append(
                (TITLES[task], "this computer", "", "", "", entries, str(host["differing"]))
            )
        if whole := made["host_spike_entries"]:
            about = f"whole test set: {count(whole)}, none"
            rows.append((TITLES[task], "this computer", "", "", "", about, "0"))
    head = ("task", "core, emulated", "instructions a step: mean, most", "a synaptic operation",
            "flash, RAM (bytes)", "recordings: spikes, states compared", "differing")  # fmt: skip
    return table(head, rows)


def _core(one: dict[str, Any]) -> str:
    return str(one["core"]).replace("cortex-m", "Cortex-M").replace("plus", "+")


def _entries(one: dict[str, Any]) -> str:
    return f"{one['recordings']}: {count(one['spike_entries'])}, {count(one['state_entries'])}"


def boretti(found: Found) -> str:
    """N-MNIST on a Cortex-M4 at 180 MHz: theirs, measured; ours, emulated, an instruction a clock."""
    (one,) = (c for c in found["emulated/nmnist-cortex-m"]["emulated"] if c["core"] == "cortex-m4")
    mean, most = (one["instructions_per_step"][key] for key in ("mean", "most"))
    each = one["instructions_per_synaptic_operation"]
    theirs = BORETTI_US * 1e-6 * CLOCK_HZ
    right = found["metrics/nmnist-cortex-m"]["accuracy"]["integer"]
    return table(
        ("", "Boretti et al.", "here"),
        (
            ("how", "measured", "emulated; at one instruction a clock"),
            ("network", "recurrent; sizes not in the abstract", "convolutional"),
            ("input", "down-sampled; size not in the abstract", "34 x 34 pixels, 2 polarities"),
            (
                "right answers",
                "97.2 %",
                f"{right['correct']} of {right['n']}, simulated recordings",
            ),
            (
                "a step: mean",
                "not given",
                f"{count(mean)} instructions, {seconds(mean / CLOCK_HZ)}",
            ),
            (
                "a step: worst case; here, the busiest golden step",
                f"{count(theirs)} cycles, {BORETTI_US} us",
                f"{count(most)} instructions, {seconds(most / CLOCK_HZ)}; "
                f"{most / theirs:.0f} times theirs",
            ),
            ("synaptic operations a step: mean", "not given", count(mean / each)),
            ("instructions a synaptic operation", "not given", f"{each:.1f}"),
        ),
    )


PAGES: dict[str, dict[str, Callable[[Found], str]]] = {
    "docs/deploy-fpga.md": {
        "designs": designs,
        "networks": networks,
        "answers": lambda found: answers(
            found,
            (
                ("Braille, both FPGAs", "braille-ice40-up5k"),
                ("N-MNIST, ECP5-25", "nmnist-ecp5-25k"),
            ),
        ),
        "generators": generators,
    },
    "docs/deploy-microcontroller.md": {
        "cores": cores,
        "boretti": boretti,
        "answers": lambda found: answers(found, ((TITLES[t], f"{t}-cortex-m") for t in TASKS)),
    },
}


def written(text: str, parts: dict[str, Callable[[Found], str]], found: Found, name: str) -> str:
    """A page with its tables anew.

    Raises:
        UserError: the page has no place for one.
    """
    for part, made in parts.items():
        begin, end = BEGIN.format(part), END.format(part)
        before, found_begin, rest = text.partition(begin)
        _, found_end, after = rest.partition(end)
        if not found_begin or not found_end:
            raise UserError(f"{name}: the lines `{begin.strip()}` and `{end.strip()}` are needed")
        text = before + begin + "\n" + made(found) + "\n" + end + after
    return text


def write(check: bool = False) -> int:
    """Write the pages; or, with `check`, say which are another: 1 if any is."""
    found, status = read(ROOT), 0
    for name, parts in PAGES.items():
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        new = written(text, parts, found, name)
        if new == text:
            continue
        if check:
            print(
                f"{name}: its tables are not those of metrics/: run python -m bench.silicon.pages"
            )
            status = 1
        else:
            files.write_text(path, new)
            print(f"{name}: written")
    return status


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.silicon.pages", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; 1 if a page is another"
    )
    return write(parser.parse_args().check)


if __name__ == "__main__":
    sys.exit(exit_status(main))
