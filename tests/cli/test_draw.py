"""`draw`: the picture has every node and edge, no two boxes overlap, and names are escaped."""

from __future__ import annotations

import itertools
from pathlib import Path
from xml.etree import ElementTree

import nir
import numpy as np
import pytest
from old_files import INNER, clean, recurrent, write

from spyx_nir.cli.main import main
from spyx_nir.converter.as_dict import as_dict
from spyx_nir.converter.draw import draw

SVG = "{http://www.w3.org/2000/svg}"


def scales(edges: list[tuple[str, str]]) -> nir.NIRGraph:
    """A graph of Scales of two numbers, and of an Input `in` and an Output `out`."""
    names = {end for edge in edges for end in edge} - {"in", "out"}
    nodes: dict[str, nir.NIRNode] = {
        name: nir.Scale(np.ones(2, np.float32)) for name in sorted(names)
    }
    if "d" in nodes:  # which is in a cycle, and that needs a state
        two = np.ones(2, np.float32)
        nodes["d"] = nir.LI(two, two, two)
    nodes |= {"in": nir.Input(np.array([2])), "out": nir.Output(np.array([2]))}
    return nir.NIRGraph(nodes, edges, {}, type_check=False)


def parts(picture: str) -> tuple[dict[str, tuple[float, ...]], list[str], int]:
    """The boxes by name (x, y, width, height), the texts, and how many edges are dashed."""
    root = ElementTree.fromstring(picture)
    boxes = {}
    for group in root.iter(f"{SVG}g"):
        title, rectangle = group.find(f"{SVG}title"), group.find(f"{SVG}rect")
        if title is not None and rectangle is not None:
            sizes = ("x", "y", "width", "height")
            boxes[title.text] = tuple(float(rectangle.get(name)) for name in sizes)
    texts = [text.text for text in root.iter(f"{SVG}text")]
    return boxes, texts, picture.count("stroke-dasharray")


def apart(boxes: dict[str, tuple[float, ...]]) -> bool:
    return all(
        a[0] + a[2] <= b[0] or b[0] + b[2] <= a[0] or a[1] + a[3] <= b[1] or b[1] + b[3] <= a[1]
        for a, b in itertools.combinations(boxes.values(), 2)
    )


BRANCHES = [
    ("in", "a"),
    ("in", "b"),
    ("a", "c"),
    ("b", "c"),
    ("in", "c"),
    ("c", "d"),
    ("d", "c"),
    ("c", "out"),
]
GRAPHS = {
    "chain": (clean(), 0),
    "recurrent": (recurrent(INNER), 1),
    "branches, a skip and a cycle": (scales(BRANCHES), 1),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_every_node_and_edge_is_drawn(name: str) -> None:
    graph, cycles = GRAPHS[name]
    picture = draw(as_dict(graph), "a.nir")
    boxes, texts, dashed = parts(picture)
    inner = {"rec.lif", "rec.w_rec"} if "rec" in graph.nodes else set()
    assert set(boxes) == set(graph.nodes) - {"rec"} | inner
    assert set(boxes) <= set(texts)
    assert apart(boxes)
    assert dashed == cycles
    edges = len(graph.edges) + (2 if inner else 0)
    assert picture.count("marker-end") == edges
    x, y, *_ = zip(*boxes.values(), strict=True)
    assert min(x) >= 0 and min(y) >= 0


@pytest.mark.parametrize("seed", range(5))
def test_boxes_of_random_graphs_do_not_overlap(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = ["in", *(f"node {'x' * int(rng.integers(20))}{i}" for i in range(20)), "out"]
    edges = set(itertools.pairwise(names))
    for _ in range(15):
        first, second = sorted(rng.choice(len(names) - 2, 2, replace=False))
        edges.add((names[first], names[second + 1]))
    boxes, _, dashed = parts(draw(as_dict(scales(sorted(edges)))))
    assert len(boxes) == 22 and dashed == 0
    assert apart(boxes)
    for source, target in edges:  # downwards
        assert boxes[source][1] + boxes[source][3] < boxes[target][1]


def test_names_are_escaped() -> None:
    name = "<script>&\"'</g>"
    graph = scales([("in", name), (name, "out")])
    graph.metadata = {"dt": 1.0, "time_unit": "\x00"}
    boxes, texts, _ = parts(draw(as_dict(graph), "<b>\x01.nir"))
    assert name in boxes and name in texts and "<b>?.nir" in texts


def test_the_command_writes_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = write(tmp_path / "a.nir", clean()), str(tmp_path / "a.svg")
    assert main(["draw", path]) == 0
    picture = capsys.readouterr().out
    assert main(["draw", path, "-o", out]) == 0
    assert capsys.readouterr().out == f"{out}: 4 nodes\n"
    assert Path(out).read_text(encoding="utf-8") == picture
    _, texts, _ = parts(picture)
    assert "Linear 3 → 2" in [" ".join(text.split()) for text in texts]
    assert main(["draw", path, "-o", str(tmp_path / "a.png")]) == 2
    assert main(["draw", path, "--json"]) == 2
    broken = clean()
    broken.edges.append(("lif", "nowhere"))
    assert main(["draw", write(tmp_path / "b.nir", broken), "-o", str(tmp_path / "b.svg")]) == 1
    assert not (tmp_path / "b.svg").exists()
