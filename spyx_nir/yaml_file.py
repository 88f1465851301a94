"""YAML that people write: read by the safe loader, up to a size, without aliases that multiply."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spyx_nir.errors import UserError

MOST_BYTES = 2**20  # of a file; ours have some thousands
MOST_NODES = 2**17  # values and keys, an alias counted as what it stands for
MOST_DEPTH = 100  # of lists and mappings inside each other


def read(path: Path) -> Any:
    """The document in a YAML file.

    Nine anchors that each name the one before nine times are 350 bytes and 400 million values
    ("billion laughs"): what aliases stand for is counted before anything is made of it.

    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file.
        UserError: no YAML, or larger or deeper than any that people write.
    """
    import yaml

    with open(path, "rb") as stream:
        raw = stream.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise UserError(f"{path}: larger than {MOST_BYTES} bytes; nobody writes such YAML")
    # The same safe loader; in C, where PyYAML was built with it, in a tenth of the time.
    kind = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = raw.decode("utf-8")
        _check_depth(text, path)
        loader = kind(text)
        try:
            node = loader.get_single_node()
            _count(node, path)
            return None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        said = " ".join(str(error).split())
        raise UserError(f"{path}: not readable as YAML: {said}") from None


def _check_depth(text: str, path: Path) -> None:
    """Refuse nesting at which the C library, which composes by recursion, would use up its stack."""
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        depth += isinstance(event, yaml.events.CollectionStartEvent)
        depth -= isinstance(event, yaml.events.CollectionEndEvent)
        if depth > MOST_DEPTH:
            raise UserError(f"{path}: lists or mappings nested more than {MOST_DEPTH} deep")


def _count(node: Any, path: Path) -> None:
    """Refuse a document whose aliases stand for too much, or for themselves."""
    import yaml

    counts: dict[int, int | None] = {}  # None: its members are being counted

    def count(one: Any) -> int:
        if not isinstance(one, yaml.nodes.CollectionNode):
            return 1
        if id(one) in counts:
            if (known := counts[id(one)]) is None:
                raise UserError(f"{path}: an alias stands for something that it is in itself")
            return known
        counts[id(one)] = None
        pairs = isinstance(one, yaml.nodes.MappingNode)
        members = [m for pair in one.value for m in pair] if pairs else one.value
        counts[id(one)] = total = 1 + sum(map(count, members))
        return total

    if node is not None and (total := count(node)) > MOST_NODES:
        what = f"its aliases stand for {total} values; at most {MOST_NODES} are read"
        raise UserError(f"{path}: {what}: write out what is meant, or leave it out")
