"""Does the file mean what was trained: differing spikes by layer, ties, the parity stage's picture."""

from __future__ import annotations

import base64

from pipeline.report.part import Number, Part, Picture, Table, count, percent, small
from pipeline.report.sources import Source


def make(source: Source) -> Part:
    """What `parity.json` says, and `parity.png`."""
    report = source.parity
    if report is None:
        return Part("parity", "Parity", missing=[source.unmade("parity.json")])
    differing, ties, classes = (
        report[key] for key in ("differing_spikes", "ties", "differing_predictions")
    )
    runs = ("reimported", "reference")
    farthest = ties["largest_distance"]
    facts = Table(
        f"Parity of {source.task} over {count(report['samples']).text} test samples",
        ("what", "trained against re-imported", "trained against reference"),
        [
            ("differing spikes", *(count(differing[run]) for run in runs)),
            ("of entries", count(differing["entries"]), count(differing["entries"])),
            ("differing predictions", *(count(classes[run]) for run in runs)),
            ("differences that start at a tie", None, count(ties["starts"])),
            ("differences that follow from a tie", None, count(ties["following"])),
            ("differences that rounding does not explain", None, count(ties["unexplained"])),
            (
                "largest distance of a tie, in thresholds",
                None,
                small(farthest) if farthest is not None else "beyond any number",
            ),
        ],
    )
    layers = Table(
        "By layer: spikes that differ, and how far membranes are apart",
        ("layer", "entries", "spike rate", "re-imported", "reference", "membranes: re-imported",
         "membranes: reference"),
        [
            (
                layer["node"],
                count(layer["entries"]),
                percent(layer["spike_rate"]),
                *(count(layer["differing_spikes"][run]) for run in runs),
                *(_gap(layer["max_membrane_difference"][run]) for run in runs),
            )
            for layer in report["layers"]
        ],
    )  # fmt: skip
    verdict = {"pass": "✓ pass", "fail": "✗ fail"}[report["verdict"]]
    text = [f"Verdict: {verdict}.", *report["reasons"]]
    part = Part("parity", "Parity", text=text, tables=[facts, layers])
    image = source.folder / "parity.png"
    if image.is_file():
        alt = (
            f"Spikes of test sample {report['picture_sample']} of {source.task}: a row per layer; "
            "trained model, re-imported model and reference side by side; differences in red"
        )
        coded = base64.b64encode(image.read_bytes()).decode("ascii")
        part.pictures.append(Picture(alt, coded))
    else:
        part.missing.append(source.unmade("parity.png"))
    return part


def _gap(value: float) -> Number:
    return small(value) if value else count(0)
