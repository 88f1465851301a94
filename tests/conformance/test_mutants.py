"""Mutants of the reference: each wrong line makes at least one case of the pack fail."""

from __future__ import annotations

import functools
import sys
import types
from typing import Any

import numpy as np
import pytest

from pipeline.conformance import build
from spyx_nir.meaning.source import reference_source

# What is wrong; then what the reference's text has (-) and what a mutant has in its place (+).
MUTANTS = r"""
# decay by exp(-dt/tau)
- u = v + dt / node["tau"] * (node["v_leak"] - v + node["r"] * x)
+ u = v + -np.expm1(-dt / node["tau"]) * (node["v_leak"] - v + node["r"] * x)
# no reset
- v = np.where(z > 0, node["v_reset"], u)
+ v = u
# reset to 0
- v = np.where(z > 0, node["v_reset"], u)
+ v = np.where(z > 0, 0.0, u)
# >= for >
- (u > node["v_threshold"])
+ (u >= node["v_threshold"])
# >= for > in Threshold
- (x > node["threshold"])
+ (x >= node["threshold"])
# several spikes a step
- z = (u > node["v_threshold"]).astype(np.float64)
+ z = np.maximum(np.floor(u / node["v_threshold"]), 0) * (u > node["v_threshold"])
# r of LIF ignored
- u = v + dt / node["tau"] * (node["v_leak"] - v + node["r"] * x)
+ u = v + dt / node["tau"] * (node["v_leak"] - v + x)
# r of IF ignored
- u = v + dt * node["r"] * x
+ u = v + x
# r of I ignored
- else rest(node, x)) + dt * node["r"] * x
+ else rest(node, x)) + x
# w_in ignored
- (-i + node["w_in"] * x)
+ (-i + x)
# v_leak ignored
- u = v + dt / node["tau"] * (node["v_leak"] - v + node["r"] * x)
+ u = v + dt / node["tau"] * (-v + node["r"] * x)
# dt taken as 1
- dt = step_dt(plan, dt)
+ dt = 1.0
- check_dt(plan, dt)
+ pass
# the old current
- i = i + dt / node["tau_syn"] * (-i + node["w_in"] * x)
+ i, old = i + dt / node["tau_syn"] * (-i + node["w_in"] * x), i
- (node["v_leak"] - v + node["r"] * i)
+ (node["v_leak"] - v + node["r"] * old)
# membranes start at v_leak
- if node.get("v_init") == "v_leak" else 0.0
+ if "v_leak" in node else 0.0
# v_init ignored
- if node.get("v_init") == "v_leak" else 0.0
+ if False else 0.0
# no membrane below minus the threshold
- state = {**state, "u": u, "v": v}
+ state = {**state, "u": u, "v": np.maximum(v, -node["v_threshold"])}
# subtraction after the decay for subtraction
- if reset == "subtract" else u
+ if False else u
# delay off by one
- np.broadcast_to((t - steps) % len(past)
+ np.broadcast_to((t - steps + 1) % len(past)
# all delays alike
- np.broadcast_to((t - steps) % len(past)
+ np.broadcast_to((t - steps.max()) % len(past)
# spike_delay ignored
- if nodes[path].get("spike_delay")
+ if False
# padding of convolutions ignored
- [(p, p) for p in whole(node, "padding", rank)]
+ [(0, 0)] * rank
# padding of an even kernel at the start
- (s // 2, s - s // 2)
+ (s - s // 2, s // 2)
# padding in poolings ignored
- x = np.pad(x, [(0, 0), (0, 0), (ph, ph), (pw, pw)])
+ pass
# padding does not count in averages
- total / np.prod(whole(node, "kernel_size", 2))
+ total / step_sum_pool(node, np.ones_like(x), {}, dt)[0]
# groups ignored
- windows[:, g * inner : (g + 1) * inner]
+ windows[:, :inner]
# stride of the first axis for all
- slice(None, None, s) for s in stride
+ slice(None, None, stride[0]) for s in stride
# dilation ignored
- slice(None, None, d) for d in dilation
+ slice(0, len(dilation) and k) for d, k in zip(dilation, weight.shape[2:])
# convolution for correlation
- kernel = weight[g * outer : (g + 1) * outer]
+ kernel = weight[g * outer : (g + 1) * outer, :, ::-1]
# bias of Affine ignored
- y + node["bias"] if "bias" in node else y
+ y
# W before H in Flatten
- x.reshape(x.shape[0], *shape_flatten(node, x.shape[1:]))
+ x.swapaxes(-1, -2).reshape(x.shape[0], *shape_flatten(node, x.shape[1:]))
# edges do not add up
- return found[0] if len(found) == 1 else sum(found[1:], found[0])
+ return found[0]
# recurrent edge carries nothing
- previous[s] if closes else values[s]
+ 0 * previous[s] if closes else values[s]
# recurrent bias missing in the first step
- for path in plan.quiet:
+ for path in []:
# the step before on the edge that leaves a loop's entry
- if edge[1] in fed}
+ if edge[0] in fed}
# scale ignored
- node["scale"] * x
+ x
"""


def mutants() -> dict[str, list[tuple[str, str]]]:
    """The replacements of each mutant."""
    found: dict[str, list[tuple[str, str]]] = {}
    for block in MUTANTS.strip().split("# ")[1:]:
        name, *lines = block.strip().splitlines()
        texts = [line[2:] for line in lines]
        found[name] = list(zip(texts[::2], texts[1::2], strict=True))
    return found


@functools.cache
def built() -> list[build.Built]:
    return [build.build_case(case) for case in build.cases()]


def load(text: str) -> Any:
    """`run` of a program's text."""
    module = types.ModuleType("mutant")
    sys.modules["mutant"] = module  # dataclasses look there
    exec(compile(text, "mutant", "exec"), vars(module))
    return module.run


def failures(run: Any, stop: bool = True) -> list[str]:
    """The cases that `run` gets wrong or refuses, judged as the runner does."""
    found = []
    for one in built():
        inputs = {name: x[:, None] for name, x in one.inputs.items()}
        try:
            outputs = run(build.full_graph(one.case), inputs).outputs
            right = all(
                outputs[name].shape[2:] == expected.shape[1:]
                and np.abs(outputs[name][:, 0] - expected).max() <= one.tolerance
                for name, expected in one.outputs.items()
            )
        except (ValueError, IndexError, KeyError, TypeError):
            right = False
        if not right:
            found.append(one.case.name)
            if stop:
                break
    return found


def test_the_reference_itself_passes() -> None:
    assert failures(load(reference_source())) == []


@pytest.mark.parametrize("what", mutants())
def test_a_mutant_fails_a_case(what: str) -> None:
    text = reference_source()
    for right, wrong in mutants()[what]:
        assert text.count(right) == 1, f"{text.count(right)} lines match {right}"
        text = text.replace(right, wrong)
    assert failures(load(text))
