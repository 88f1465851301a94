"""Input and Output: where data enters and leaves. `shape` is without the batch axis."""

from __future__ import annotations

from spyx_nir.converter.kind import Kind

KINDS = [Kind("Input", None), Kind("Output", None)]
