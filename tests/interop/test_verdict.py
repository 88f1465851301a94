"""What is said about a reader, on one neuron whose spikes can be worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.interop import verdict
from pipeline.interop.protocol import Answer
from spyx_nir.errors import UserError
from spyx_nir.meaning import dialects
from spyx_nir.meaning.plan import make_plan

LABELS = np.array([0])


def plan_of(weight: float) -> Any:
    """Input(1) -> Linear -> IF with threshold 1 -> Output, dt = 1: v gains `weight` per spike."""
    one = np.ones(1)
    return make_plan(
        {
            "type": "NIRGraph",
            "nodes": {
                "in": {"type": "Input", "shape": np.array([1])},
                "w": {"type": "Linear", "weight": np.array([[weight]])},
                "if": {"type": "IF", "r": one, "v_threshold": one, "v_reset": 0 * one},
                "out": {"type": "Output", "shape": np.array([1])},
            },
            "edges": [("in", "w"), ("w", "if"), ("if", "out")],
            "metadata": {"dt": 1.0},
        }
    )


def judge(weight: float, answer: Answer, *known: dialects.Rule) -> dict[str, Any]:
    """The verdict on a reader that was given a spike in each of four steps."""
    x = np.ones((1, 4, 1), np.uint8)
    plan = plan_of(weight)
    return verdict.judge(plan, 1.0, x, LABELS, {"it": answer}, {"it": known})["it"]


def spikes(*values: int, delay: int = 0) -> Answer:
    """What a reader answers: its spikes step by step."""
    return Answer({"if": np.array(values).reshape(1, -1, 1)}, {"if": delay})


# Membranes by hand: 0.6, 1.2 and a spike, 0.6, 1.2 and a spike.
RIGHT = (0, 1, 0, 1)


def test_the_same_spikes_are_faithful() -> None:
    judged = judge(0.6, spikes(*RIGHT))
    assert judged["verdict"] == "faithful"
    assert (judged["differing_spikes"], judged["entries"], judged["samples"]) == (0, 4, 1)
    assert judged["accuracy"]["correct"] == judged["reference_accuracy"]["correct"] == 1


@pytest.mark.parametrize("wrong", [(1, 1, 0, 1), (0, 0, 0, 1), (0, 1, 0, 0), (1, 0, 1, 0)])
def test_one_spike_too_many_or_too_few_is_wrong(wrong: tuple[int, ...]) -> None:
    judged = judge(0.6, spikes(*wrong))
    assert judged["verdict"] == "wrong"
    assert judged["differing_spikes"] == sum(a != b for a, b in zip(wrong, RIGHT, strict=True))


def test_a_rule_that_does_not_lead_there_explains_nothing() -> None:
    assert judge(0.6, spikes(1, 1, 0, 1), dialects.SINABS)["verdict"] == "wrong"


def test_a_rule_that_leads_there_explains() -> None:
    # 2.5: two spikes, 0.5 is left; 3.0: three spikes, 0 is left. NIR: one spike, 0 is left.
    judged = judge(2.5, spikes(2, 3, 2, 3), dialects.ROCKPOOL, dialects.SINABS)
    assert (judged["verdict"], judged["rule"]) == ("explained", dialects.SINABS.text)
    assert judged["differing_spikes"] == 4
    assert judged["by_rule"]["differing_spikes"] == 0


def test_without_the_rule_the_same_spikes_are_wrong() -> None:
    assert judge(2.5, spikes(2, 3, 2, 3))["verdict"] == "wrong"


def test_a_rule_is_gone_afterwards() -> None:
    judge(2.5, spikes(2, 3, 2, 3), dialects.SINABS)
    assert judge(2.5, spikes(1, 1, 1, 1))["verdict"] == "faithful"


@pytest.mark.parametrize(("distance", "expected"), [(5e-5, "faithful"), (5e-3, "wrong")])
def test_a_tie_is_rounding_and_what_is_farther_away_is_not(distance: float, expected: str) -> None:
    # In the second step the membrane is 1 - distance: no spike here, one there.
    judged = judge((1 - distance) / 2, spikes(0, 1, 0, 1))
    assert judged["verdict"] == expected
    assert judged["ties"]["starts"] == 1
    assert judged["ties"]["largest_distance"] == pytest.approx(distance)


def test_a_delay_that_is_known_is_taken_off() -> None:
    assert judge(0.6, spikes(0, *RIGHT, delay=1))["verdict"] == "faithful"
    assert judge(0.6, spikes(0, *RIGHT[:3], delay=1))["entries"] == 3


def test_a_delay_that_nobody_knows_is_wrong() -> None:
    assert judge(0.6, spikes(0, *RIGHT[:3]))["verdict"] == "wrong"


def test_a_spike_before_the_delay_is_wrong() -> None:
    judged = judge(0.6, spikes(1, *RIGHT, delay=1))
    assert (judged["verdict"], judged["differing_spikes"]) == ("wrong", 1)


def test_an_error_is_a_refusal_and_silence_is_reading() -> None:
    assert judge(0.6, Answer(error="no"))["error"] == "no"
    assert judge(0.6, Answer(error="no"))["verdict"] == "refused"
    assert judge(0.6, Answer(notes=("79 lines",)))["verdict"] == "read"


@pytest.mark.parametrize(
    "answer",
    [
        Answer({"other": np.zeros((1, 4, 1), int)}),
        Answer({"if": np.zeros((1, 3, 1), int)}),
        Answer({"if": np.zeros((1, 4, 2), int)}),
        Answer({"if": np.zeros((2, 4, 1), int)}),
        Answer({"if": np.zeros((0, 4, 1), int)}),
    ],
)
def test_an_answer_of_another_shape_is_no_answer(answer: Answer) -> None:
    with pytest.raises(UserError, match="node `if`: the reader gave"):
        judge(0.6, answer)


def test_a_readers_classes_are_counted_against_the_references() -> None:
    plan, x = plan_of(0.6), np.ones((1, 4, 1), np.uint8)
    judged = verdict.judge(plan, 1.0, x, np.array([1]), {"it": spikes(*RIGHT)}, {})["it"]
    assert judged["accuracy"]["correct"] == 0
    assert judged["differing_predictions"] == 0


def test_a_bias_that_is_missing_in_the_first_step_is_explained() -> None:
    """Bias 0.4, threshold 1, no input: 0.4, 0.8, 1.2 and a spike; empty: 0, 0.4, 0.8, 1.2."""
    plan = plan_of(0.0)
    one = np.ones(1)
    ring = {"type": "Affine", "weight": np.zeros((1, 1)), "bias": 0.4 * one}
    graph = {
        "nodes": {**plan.nodes, "rec": ring},
        "edges": [*plan.edges, ("if", "rec"), ("rec", "if")],
        "metadata": {"dt": 1.0},
    }
    plan, x = make_plan(graph), np.zeros((1, 4, 1), np.uint8)
    answers = {"full": spikes(0, 0, 1, 0), "empty": spikes(0, 0, 0, 1)}
    known = dict.fromkeys(answers, (dialects.EMPTY_CYCLES,))
    judged = verdict.judge(plan, 1.0, x, LABELS, answers, known)
    assert judged["full"]["verdict"] == "faithful"
    assert (judged["empty"]["verdict"], judged["empty"]["differing_spikes"]) == ("explained", 2)
    judged = verdict.judge(plan, 1.0, x, LABELS, answers, {})
    assert judged["empty"]["verdict"] == "wrong"


@pytest.mark.parametrize("delay", [0, 1])
def test_a_contract_that_is_not_read_is_explained(delay: int) -> None:
    """0.7 a step: by subtraction 0.7, 1.4, 1.1, 0.8 before the reset; to zero 0.7, 1.4, 0.7, 1.4."""
    plan = plan_of(0.7)
    judged = {"reset": "subtract", "spike_delay": delay}
    neuron = {k: v for k, v in plan.nodes["if"].items() if k not in judged} | {"metadata": judged}
    nodes = {**plan.nodes, "if": neuron}
    plan = make_plan({"nodes": nodes, "edges": plan.edges, "metadata": {"dt": 1.0}})
    honest = (0, 0, 1, 1) if delay else (0, 1, 1, 0)
    answers = {"contract": spikes(*honest), "nir": spikes(0, 1, 0, 1)}
    x, known = np.ones((1, 4, 1), np.uint8), dict.fromkeys(answers, (dialects.NIR_ALONE,))
    found = verdict.judge(plan, 1.0, x, LABELS, answers, known)
    assert found["contract"]["verdict"] == "faithful"
    assert (found["nir"]["verdict"], found["nir"]["rule"]) == ("explained", dialects.NIR_ALONE.text)
    assert verdict.judge(plan, 1.0, x, LABELS, answers, {})["nir"]["verdict"] == "wrong"


def test_a_tie_is_looked_up_where_the_rule_spikes() -> None:
    """The contract says a step later, the reader does not: 1 - 5e-5 in the second step, by its rule."""
    plan = plan_of((1 - 5e-5) / 2)
    judged = {"metadata": {"reset": "subtract", "spike_delay": 1}}
    nodes = {**plan.nodes, "if": {**plan.nodes["if"], **judged}}
    nodes["if"] = {k: v for k, v in nodes["if"].items() if k not in ("reset", "spike_delay")}
    plan = make_plan({"nodes": nodes, "edges": plan.edges, "metadata": {"dt": 1.0}})
    x, answers = np.ones((1, 4, 1), np.uint8), {"it": spikes(0, 1, 0, 1)}
    found = verdict.judge(plan, 1.0, x, LABELS, answers, {"it": (dialects.NIR_ALONE,)})["it"]
    assert found["verdict"] == "explained"
    assert found["by_rule"]["ties"]["largest_distance"] == pytest.approx(5e-5)


@pytest.mark.parametrize("delay", [0, 1])
def test_what_follows_from_a_tie_in_the_layer_before_is_explained(delay: int) -> None:
    """Two neurons in a row: the first is a tie at 1 - 5e-5, the second goes from 0 to 1 by its spike.

    The file delays the first one's spikes, so that its plan runs the second one first; the reader does
    not delay them.
    """
    plan = plan_of((1 - 5e-5) / 2)
    neuron = {k: v for k, v in plan.nodes["if"].items() if k not in ("reset", "spike_delay")}
    late = {**neuron, "metadata": {"spike_delay": delay}}
    nodes = {"in": plan.nodes["in"], "w": plan.nodes["w"], "if": late, "out": plan.nodes["out"]}
    nodes |= {"again": {"type": "Linear", "weight": np.array([[1.5]])}, "a_last": neuron}
    edges = [("in", "w"), ("w", "if"), ("if", "again"), ("again", "a_last"), ("a_last", "out")]
    plan = make_plan({"nodes": nodes, "edges": edges, "metadata": {"dt": 1.0}})
    assert verdict.spiking(plan) == ("if", "a_last")
    # By the rule: membranes 0.5, 1 - 5e-5, 1.5 and a spike; the reader spikes a step earlier.
    step = np.array([0, 1, 0]).reshape(1, 3, 1)
    known, x = {"it": (dialects.NIR_ALONE,)}, np.ones((1, 3, 1), np.uint8)
    answers = {"it": Answer({"if": step, "a_last": step})}
    found = verdict.judge(plan, 1.0, x, LABELS, answers, known)["it"]
    assert found["verdict"] == ("explained" if delay else "faithful")
    ties = found.get("by_rule", found)["ties"]
    assert (ties["starts"], ties["unexplained"]) == (1, 0)
    assert ties["largest_distance"] == pytest.approx(5e-5)


def test_rockpools_rule_by_hand() -> None:
    """Two steps of input 1, decays 1/2: i = 0.5, 0.75; v = 0.5, 1.0, so that >= matters."""
    tau = np.array([1 / np.log(2)])
    node = {"tau_syn": tau, "tau_mem": tau, "v_leak": 0.0, "v_threshold": 1.0}
    first, state = dialects.step_cuba_exponential(node, np.ones(1), {}, 1.0)
    second, state = dialects.step_cuba_exponential(node, np.ones(1), state, 1.0)
    assert (first.tolist(), second.tolist()) == ([0.0], [1.0])
    assert state["i"] == pytest.approx(0.75)
    assert state["v"] == pytest.approx(0.0, abs=1e-12)  # 1 - 1, in float64


def test_sinabs_rules_by_hand() -> None:
    one = {"v_threshold": 1.0, "tau": 1 / np.log(2)}
    z, state = dialects.step_if_floor(one, np.array([-3.0]), {}, 1.0)
    assert (z.tolist(), state["v"].tolist()) == ([0.0], [-1.0])
    z, state = dialects.step_if_floor(one, np.array([3.5]), state, 1.0)
    assert (z.tolist(), state["v"].tolist()) == ([2.0], [0.5])
    z, state = dialects.step_lif_exponential(one, np.array([0.6]), {"v": np.array([1.0])}, 1.0)
    assert z.tolist() == [1.0]
    assert state["v"] == pytest.approx(0.1)


def test_rules_of_norse_by_hand() -> None:
    """tau 2, r 2, input 1. NIR at dt 1: 0.5 * 2 = 1. Norse: 0.5, then 0.75; IF adds 1 at any dt."""
    node = {"tau": 2.0, "r": 2.0, "v_leak": 0.0, "v_threshold": 0.7, "v_reset": 0.0}
    one, norse = np.ones(1), dialects.NORSE.steps
    z, state = norse["LIF"](node, one, {}, 1.0)
    assert (z.tolist(), state["v"].tolist()) == ([0.0], [0.5])
    z, state = norse["LIF"](node, one, state, 1.0)
    assert (z.tolist(), state["u"].tolist(), state["v"].tolist()) == ([1.0], [0.75], [0.0])
    z, state = norse["IF"]({**node, "v_threshold": 1.5}, one, {}, 1e-3)
    assert (z.tolist(), state["v"].tolist()) == ([0.0], [1.0])


def test_norses_current_relaxes_to_v_leak() -> None:
    """tau_syn and tau_mem 2, v_leak 1, no input: current and membrane stay at 1, r * i adds 0.5 of 1."""
    node = {"tau_syn": 2.0, "tau_mem": 2.0, "r": 1.0, "w_in": 1.0, "v_leak": 1.0}
    node |= {"v_threshold": 9.0, "v_reset": 0.0}
    _, state = dialects.NORSE.steps["CubaLIF"](node, np.zeros(1), {}, 1.0)
    assert (state["i"].tolist(), state["v"].tolist()) == ([1.0], [1.5])


def test_rules_of_snntorch_by_hand() -> None:
    """LIF with tau 2, r 2: 1e-4 / 2 * 2. IF, threshold 1, input 3.5, then 0, then 0.

    3.5 spikes and leaves 2.5, still above: 0.9 * 2.5 - 1 = 1.25 spikes and is not lowered again. Then
    0.9 * 1.25 - 1 = 0.125 does not spike and gets the 1 back.
    """
    one, snntorch = np.ones(1), dialects.SNNTORCH.steps
    node = {"tau": 2.0, "r": 2.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}
    z, state = snntorch["LIF"](node, one, {}, 1.0)
    assert (z.tolist(), state["v"]) == ([0.0], pytest.approx(1e-4))
    state, spikes_of, membranes = {}, [], []
    for x in (3.5, 0.0, 0.0):
        z, state = snntorch["IF"](node, x * one, state, 1.0)
        spikes_of.append(z.tolist()[0])
        membranes.append(float(state["v"][0]))
    assert spikes_of == [1.0, 1.0, 0.0]
    assert membranes == pytest.approx([2.5, 1.25, 1.125])


def test_rules_of_spikingjelly_by_hand() -> None:
    """IF from v_reset -1, input 2, threshold 1: a membrane of 1 spikes."""
    node = {"r": 1.0, "v_threshold": 1.0, "v_reset": -1.0}
    z, state = dialects.SPIKINGJELLY.steps["IF"](node, 2 * np.ones(1), {}, 1.0)
    assert (z.tolist(), state["u"].tolist(), state["v"].tolist()) == ([1.0], [1.0], [-1.0])


def test_integrators_of_sinabs_and_rockpool_by_hand() -> None:
    """A decay of 1/2 a step: sinabs adds after it, Rockpool before it, whatever the dt."""
    node, one = {"tau": 1 / np.log(2)}, np.ones(1)
    for rule, expected in ((dialects.SINABS, [1.0, 1.5]), (dialects.ROCKPOOL, [0.5, 0.75])):
        first, state = rule.steps["LI"](node, one, {}, 1e-3)
        second, _ = rule.steps["LI"](node, one, state, 1e-3)
        assert [first[0], second[0]] == pytest.approx(expected)
