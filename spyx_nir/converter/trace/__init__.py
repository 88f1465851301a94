"""The layers that a module of any kind calls in one step, read from its trace on shapes."""

from spyx_nir.converter.trace.program import trace as trace
