"""Which side a conversation is on, and what the canary's side looks like."""

from policies.canary_route import is_on_canary, with_canary
from policies.canary_run import Arm
from policies.compiled_route import compile_route
from policies.facts import BackendFacts
from policies.route_match import RouteMatch
from policies.words import CostLimit, Require, Route

FACTS = {name: BackendFacts(name) for name in ("old", "new", "gpt-4")}
COUNT = 4000


def on(share: float, conversation: int, *, caller: str | None = None) -> bool:
    arm = Arm("new", "old", share)
    return is_on_canary("extract", arm, caller=caller, conversation=f"c{conversation}")


def test_a_share_is_drawn_by_conversation_and_only_grows() -> None:
    shares = [sum(on(share, number) for number in range(COUNT)) / COUNT for share in (0.01, 0.1)]
    assert 0.004 < shares[0] < 0.018
    assert 0.08 < shares[1] < 0.12
    assert all(on(0.1, number) for number in range(COUNT) if on(0.01, number))


def test_nobody_at_nothing_and_everybody_at_everything() -> None:
    assert not any(on(0.0, number) for number in range(100))
    assert all(on(1.0, number) for number in range(100))


def test_two_callers_with_one_word_are_two_conversations() -> None:
    sides = {(on(0.5, 1, caller=f"k{number}")) for number in range(40)}
    assert sides == {True, False}


def test_the_canary_stands_in_the_place_of_whom_it_replaces() -> None:
    require = Require(cost=CostLimit(0.004))
    route = Route(
        name="extract", candidates=("gpt-4", "old"), on_failure=("gpt-4",), require=require
    )
    match = RouteMatch(route, "match", compile_route(route, FACTS))
    placed = with_canary(match, Arm("new", "old", 0.1), FACTS)
    assert placed.route.candidates == ("gpt-4", "new")
    assert [one.backend for one in placed.compiled.candidates] == ["gpt-4", "new"]
    assert (placed.by, placed.route.require, placed.route.on_failure) == (
        "match", require, ("gpt-4",),
    )  # fmt: skip
