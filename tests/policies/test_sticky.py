"""A conversation stays with its model while that is eligible, in every process the same."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from policies.choice import World
from policies.decide import decide
from policies.decision import Decision
from policies.sticky import Held, held_by, key_of, seed_of, stay, unit_of
from tests.support.policy_cases import features_of, learned_from, observation, policy_of

TWO = "candidates: [local, gpt-4], require: {cost: {max: $0.10}}"


def decided(words: str, *, seed: int = 1, unavailable: dict[str, str] | None = None) -> Decision:
    policy = policy_of(f"routes:\n  r: {{{words}}}\n  default: {{candidates: [gpt-4]}}")
    match = policy.route_for("r", {})
    assert match is not None
    learned = learned_from((30, observation("gpt-4", prompt=100, completion=100)))
    state = World(learned, unavailable=unavailable or {})
    return decide(policy, match, features_of(), state, decision_id="d", seed=seed)


@given(st.binary())
def test_a_unit_is_at_least_0_and_below_1(key: bytes) -> None:
    assert 0.0 <= unit_of(key) < 1.0
    assert 0 <= seed_of(key) < 1 << 63


def test_units_are_spread_evenly() -> None:
    units = sorted(unit_of(b"%d" % number) for number in range(10_000))
    assert max(abs(unit - at / 10_000) for at, unit in enumerate(units)) < 0.02


def test_every_process_draws_alike() -> None:
    program = "from policies.sticky import unit_of; print(unit_of(b'a conversation'))"
    told = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    assert float(told) == unit_of(b"a conversation")


def test_routes_and_callers_have_conversations_of_their_own() -> None:
    keys = {key_of("r", None, "c"), key_of("r", "me", "c"), key_of("s", None, "c"),
            key_of("r", None, "d"), key_of("r", "m", "ec")}  # fmt: skip
    assert len(keys) == 5


def test_stays_where_another_would_be_chosen_now() -> None:
    found, is_kept = stay(decided(TWO), Held("gpt-4"), {})
    assert (found.chosen, is_kept) == ("gpt-4", True)
    assert found.reason == (
        "the conversation stays with gpt-4; else local: cheapest of 2 that meet $0.1"
    )
    assert [one.propensity for one in found.candidates] == [0.0, 1.0]


def test_says_that_it_stays_where_nothing_else_would_be_chosen() -> None:
    found, is_kept = stay(decided(TWO), Held("local"), {})
    assert (found.chosen, is_kept) == ("local", True)
    assert found.reason.endswith("; the conversation stays with local")


def test_a_conversation_that_begins_is_decided_as_any() -> None:
    decision = decided(TWO)
    assert stay(decision, None, {}) == (decision, False)


@pytest.mark.parametrize(
    ("held", "unavailable", "why"),
    [
        ("local", {"local": "breaker open"}, "local: unavailable: breaker open"),
        ("o3-mini", {}, "o3-mini: no candidate any more"),
    ],
)
def test_leaves_what_cannot_be_asked_and_says_why(
    held: str, unavailable: dict[str, str], why: str
) -> None:
    decision = decided(TWO, unavailable=unavailable)
    found, is_kept = stay(decision, Held(held), {})
    assert (found.chosen, is_kept) == (decision.chosen, False)
    assert found.reason == f"{decision.reason}; the conversation leaves {why}"


def test_leaves_what_meets_the_limits_no_more() -> None:
    found, is_kept = stay(
        decided("candidates: [local, gpt-4], require: {cost: {max: $0.005}}"), Held("gpt-4"), {}
    )
    assert (found.chosen, is_kept) == ("local", False)
    assert "leaves gpt-4: $" in found.reason


def test_a_refusal_stays_a_refusal() -> None:
    decision = decided("candidates: gpt-4, require: {cost: {max: $0.0001}}, if_none: reject")
    assert decision.chosen is None
    assert stay(decision, Held("gpt-4"), {}) == (decision, False)
    assert held_by(decision) is None


@given(st.integers(0, 1 << 62), st.sampled_from(["local", "gpt-4"]))
def test_propensities_are_those_of_the_first_draw(seed: int, later: str) -> None:
    first = decided(f"{TWO}, explore: {{share: 40%}}", seed=seed)
    held = held_by(first)
    assert held is not None
    found, is_kept = stay(decided(TWO), held, {})
    assert is_kept
    odds = {one.backend: one.propensity for one in found.candidates}
    assert odds == {one.backend: one.propensity for one in first.candidates}
    assert sum(odds.values()) == pytest.approx(1.0)
    moved = Held(later, (("o3-mini", 0.5), (later, 0.5)))  # drawn under another configuration
    assert sum(one.propensity for one in stay(decided(TWO), moved, {})[0].candidates) == 1.0


@given(
    held=st.sampled_from(["local", "gpt-4", "o3-mini"]),
    out=st.sets(st.sampled_from(["local", "gpt-4", "o3-mini"])),
    limit=st.sampled_from(["$0.0000001", "$0.005", "$1"]),
)
def test_no_conversation_breaks_a_limit_while_somebody_meets_it(
    held: str, out: set[str], limit: str
) -> None:
    words = f"candidates: [local, gpt-4, o3-mini], require: {{cost: {{max: {limit}}}}}"
    decision = decided(words, unavailable=dict.fromkeys(out, "breaker open"))
    found, _ = stay(decision, Held(held), {})
    eligible = {one.backend for one in found.candidates if one.eligible}
    assert found.chosen in eligible or not eligible
    assert sum(one.propensity for one in found.candidates) == pytest.approx(1.0)


GOLDEN = Path(__file__).parent / "golden" / "held"


def golden_cases() -> Iterator[Any]:
    for file in sorted(GOLDEN.glob("*.yaml")):
        text = file.read_text()
        for case in yaml.safe_load(text)["cases"]:
            yield pytest.param(text, case, id=f"{file.stem}: {case['name']}")


@pytest.mark.parametrize(("text", "case"), list(golden_cases()))
def test_golden(text: str, case: dict[str, Any]) -> None:
    policy = policy_of(text)
    match = policy.route_for(case["route"], {})
    assert match is not None
    seen = [dict(words) for words in case.get("seen", [])]
    learned = learned_from(*[(words.pop("count"), observation(**words)) for words in seen])
    world = World(learned, unavailable=case.get("unavailable", {}))
    features = features_of(labels={"task": "t"})
    decision = decide(policy, match, features, world, decision_id="d", seed=7)
    held = Held(case["held"], tuple(case.get("drawn", {}).items()))
    found, is_kept = stay(decision, held, match.compiled.plans)
    expect = case["expect"]
    assert (found.chosen, is_kept) == (expect["chosen"], expect["kept"])
    assert found.reason == expect.get("reason", found.reason)
    odds = {one.backend: one.propensity for one in found.candidates}
    assert odds == expect.get("propensities", odds)
    plan = [[step.step, step.backend] for step in found.plan]
    assert plan == expect.get("plan", plan)
