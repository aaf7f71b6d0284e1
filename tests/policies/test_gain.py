"""Requests that go to the reference before a call, by what it gains there."""

from collections.abc import Mapping

import msgspec
import pytest

from policies.choice import World
from policies.compiled_route import compile_route
from policies.decide import decide
from policies.decision import Decision
from policies.learned import Learned
from policies.policy import Policy
from policies.route_match import RouteMatch
from tests.support.policy_cases import BACKENDS, features_of, learned_from, observation, policy_of

SEEN = ("local", 0.01), ("gpt-4", 1.0), ("o3-mini", 5.0)


def proved(least: float, words: str = "candidates: [local, gpt-4]") -> tuple[Policy, RouteMatch]:
    """A route whose lock says from which gain on gpt-4 answers."""
    policy = policy_of(
        f"routes: {{r: {{{words}, require: {{error: {{max: 9%, reference: gpt-4}}}}}},"
        " default: {candidates: [gpt-4]}}"
    )
    route = policy.routes[0]
    assert route.require.error is not None
    error = msgspec.structs.replace(route.require.error, gain=least)
    route = msgspec.structs.replace(
        route, require=msgspec.structs.replace(route.require, error=error)
    )
    return policy, RouteMatch(route, "name", compile_route(route, BACKENDS))


def choose(
    made: tuple[Policy, RouteMatch], acceptable: Mapping[str, float] | None, learned: Learned
) -> Decision:
    policy, match = made
    world = World(learned, certified=frozenset({"r"}))
    return decide(
        policy, match, features_of(), world, decision_id="d", seed=1, acceptable=acceptable
    )


@pytest.fixture
def learned() -> Learned:
    return learned_from(
        *((20, observation(name, completion=20, total_s=total_s)) for name, total_s in SEEN)
    )


@pytest.mark.parametrize(
    ("local", "chosen"), [(0.9, "local"), (0.71, "local"), (0.69, "gpt-4"), (0.2, "gpt-4")]
)
def test_the_reference_answers_from_the_proved_gain_on(
    local: float, chosen: str, learned: Learned
) -> None:
    made = choose(proved(0.2), {"local": local, "gpt-4": 0.9}, learned)
    assert made.chosen == chosen


def test_it_says_why_and_the_others_may_not_be_drawn(learned: Learned) -> None:
    made = choose(proved(0.2, "candidates: [local, gpt-4], explore: {share: 50%}"),
                  {"local": 0.5, "gpt-4": 0.9}, learned)  # fmt: skip
    assert made.reason == "reference gpt-4: +40.0% likelier right, from +20.0% on it answers"
    assert [one.eligible for one in made.candidates] == [False, True]
    assert [one.propensity for one in made.candidates] == [0.0, 1.0]
    assert [one.p_acceptable for one in made.candidates] == [0.5, 0.9]


def test_a_reference_that_is_no_candidate_joins_them_for_it(learned: Learned) -> None:
    made = choose(proved(0.2, "candidates: [local]"), {"local": 0.5, "gpt-4": 0.9}, learned)
    assert made.chosen == "gpt-4"
    assert [one.backend for one in made.candidates] == ["local", "gpt-4"]
    kept = choose(proved(0.5, "candidates: [local]"), {"local": 0.5, "gpt-4": 0.9}, learned)
    assert [one.backend for one in kept.candidates] == ["local"]


@pytest.mark.parametrize(
    "acceptable", [None, {}, {"local": 0.9}, {"local": 0.9, "gpt-4": float("nan")}]
)
def test_what_nothing_is_known_of_goes_there_too(
    acceptable: Mapping[str, float] | None, learned: Learned
) -> None:
    made = choose(proved(0.2), acceptable, learned)
    assert made.chosen == "gpt-4"
    assert "not known" in made.reason


def test_a_request_of_the_same_kind_is_weighed_anew(learned: Learned) -> None:
    made = proved(0.2)
    chances = {"local": 0.5, "gpt-4": 0.9}, {"local": 0.9, "gpt-4": 0.9}, {}
    found = [choose(made, one, learned).chosen for one in chances]
    assert found == ["gpt-4", "local", "gpt-4"]


def test_where_the_reference_is_chosen_anyway_nothing_is_asked(learned: Learned) -> None:
    made = choose(proved(0.2, "candidates: [gpt-4]"), {}, learned)
    assert (made.chosen, made.reason) == ("gpt-4", "the only candidate")
