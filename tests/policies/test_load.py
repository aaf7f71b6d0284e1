"""What load does to times: learned, kept, and asked about where time can change the choice."""

import pytest

from policies.choice import World
from policies.decide import decide
from policies.learned import Learned
from policies.load import BUCKET_MAX, Loads, load_bucket, stretch
from policies.sketch import Sketch
from tests.support.policy_cases import features_of, observation, policy_of

BUSY = 16


def learned(*, alone_s: float = 0.1, busy_s: float = 0.5) -> Learned:
    """local takes as long as said, alone and beside 15 others; gpt-4 takes 0.3 s always."""
    made = Learned()
    for number in range(100):
        for at_once, total_s in ((1, alone_s), (BUSY, busy_s)):
            seen = observation("local", total_s=total_s, completion=9, served_at_once=at_once)
            made.observe(seen, float(number))
        made.observe(observation("gpt-4", total_s=0.3, completion=9, served_at_once=1), number)
    return made


def chosen(state: Learned, in_flight: int, words: str = "require: {latency: {p90: 350ms}}") -> str:
    policy = policy_of(
        f"routes: {{r: {{candidates: [local, gpt-4], {words}}}, default: {{candidates: [gpt-4]}}}}"
    )
    match = policy.route_for("r", {})
    assert match is not None
    world = World(state, in_flight={"local": in_flight})
    features = features_of(labels={"task": "t"})
    made = decide(policy, match, features, world, decision_id="d", seed=0)
    assert made.chosen is not None
    return made.chosen


@pytest.mark.parametrize("words", ["require: {latency: {p90: 350ms}}", "prefer: fastest"])
def test_who_is_quick_alone_is_left_alone_while_it_is_busy(words: str) -> None:
    state = learned()
    assert chosen(state, 0, words) == "local"
    assert chosen(state, BUSY - 1, words) == "gpt-4"
    assert chosen(state, 0, words) == "local"  # the choice before was one for another load


def test_a_load_that_was_never_seen_takes_the_next_lower_one() -> None:
    state = learned()
    assert chosen(state, 5) == "local"
    assert chosen(state, 4000) == "gpt-4"


def test_where_time_cannot_change_the_choice_load_is_not_asked() -> None:
    policy = policy_of("routes: {default: {candidates: [gpt-4, o3-mini]}}")
    match = policy.route_for("default", {})
    assert match is not None
    assert match.compiled.timed == ()


def test_what_was_learned_of_loads_is_kept() -> None:
    again = Learned.from_bytes(learned().to_bytes(100.0))
    assert chosen(again, BUSY - 1) == "gpt-4"
    assert chosen(again, 0) == "local"


def test_an_attempt_of_unknown_load_tells_none() -> None:
    state = Learned()
    for number in range(50):
        state.observe(observation("local", total_s=0.1, completion=9), float(number))
    assert chosen(state, 10_000) == "local"


def test_buckets_are_powers_of_two() -> None:
    assert [load_bucket(count) for count in (0, 1, 2, 3, 4, 7, 8)] == [1, 1, 2, 2, 3, 3, 4]
    assert load_bucket(1 << 40) == BUCKET_MAX


def test_too_few_samples_stretch_nothing() -> None:
    loads: Loads = {}
    assert stretch(loads, "total", 3, None) == 1.0
    assert stretch(loads, "total", 3, Sketch()) == 1.0
