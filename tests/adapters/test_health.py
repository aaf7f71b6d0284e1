"""The circuit breaker and the pauses, in virtual time."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.health import (
    OPEN_MAX_S,
    OPEN_MIN_S,
    PAUSE_MAX_S,
    Health,
)
from adapters.standing import Pause, Standing

NOW_S = 1000.0


def failures(health: Health, count: int, now_s: float = NOW_S, chance: float = 1.0) -> bool:
    """Fail `count` times at one moment; whether the last changed anything."""
    changed = False
    for _ in range(count):
        changed = health.failed(now_s, "status 503", begun_s=now_s, chance=chance)
    return changed


def successes(health: Health, count: int, now_s: float = NOW_S) -> None:
    for _ in range(count):
        assert not health.succeeded(now_s, begun_s=now_s)


def opened(now_s: float = NOW_S) -> Health:
    health = Health("a")
    assert failures(health, 5, now_s)
    return health


def half_opened(now_s: float = NOW_S) -> Health:
    health = opened(now_s)
    assert health.pass_time(now_s + OPEN_MIN_S)
    return health


# -- the circuit ---------------------------------------------------------------------------------


def test_five_failures_in_a_row_open_it() -> None:
    health = Health("a")
    assert not failures(health, 4)
    assert health.is_failing
    assert failures(health, 1)
    assert health.standing == Standing(
        "a",
        "failing",
        "5 failures in a row, the last: status 503",
        NOW_S,
        NOW_S + OPEN_MIN_S,
        NOW_S,
    )
    assert repr(health) == "<Health a failing <Window 0 0>>"


def test_a_success_between_breaks_the_row() -> None:
    health = Health("a")
    for _ in range(3):
        failures(health, 4)
        successes(health, 1)
    assert health.standing.state == "ready"
    assert not health.is_failing


@pytest.mark.parametrize(
    ("good", "bad", "state"),
    [
        (15, 4, "ready"),
        (15, 5, "failing"),
        (16, 4, "ready"),
        (80, 20, "ready"),
        (79, 21, "failing"),
    ],
)
def test_under_80_percent_of_twenty_open_it(good: int, bad: int, state: str) -> None:
    health = Health("a")
    successes(health, good - bad + 1)
    for _ in range(bad - 1):
        failures(health, 1)
        successes(health, 1)
    failures(health, 1)
    assert health.standing.state == state


def test_failures_older_than_ten_seconds_count_no_more() -> None:
    health = Health("a")
    for _ in range(7):
        failures(health, 1)
        successes(health, 1)
    successes(health, 12, NOW_S + 10)
    assert not failures(health, 1, NOW_S + 10)
    assert health.standing.state == "ready"


@pytest.mark.parametrize(("chance", "span_s"), [(0.0, 2.5), (0.5, 3.75), (1.0, 5.0)])
def test_half_of_the_time_is_up_to_chance(chance: float, span_s: float) -> None:
    health = Health("a")
    failures(health, 5, chance=chance)
    assert health.standing.until_s == NOW_S + span_s


def test_one_answered_probe_closes_it() -> None:
    health = half_opened()
    assert health.standing.state == "half_open"
    assert health.succeeded(NOW_S + 6, begun_s=NOW_S + 5.5, is_probe=True)
    assert health.standing.state == "ready"
    assert not health.is_failing


def test_a_failed_probe_opens_it_again() -> None:
    health = half_opened()
    assert health.failed(NOW_S + 6, "connect", begun_s=NOW_S + 5.5, chance=1.0, is_probe=True)
    standing = health.standing
    assert (standing.state, standing.reason) == ("failing", "the probe failed: connect")
    assert standing.until_s == NOW_S + 6 + OPEN_MIN_S


def test_what_is_asked_for_want_of_others_closes_nothing() -> None:
    health = opened()
    successes(health, 50, NOW_S + 1)
    assert health.standing.state == "failing"
    assert not failures(health, 50, NOW_S + 1)


def test_calls_from_before_a_change_do_not_count() -> None:
    health = half_opened()
    health.succeeded(NOW_S + 6, begun_s=NOW_S + 5.5, is_probe=True)
    for _ in range(20):
        assert not health.failed(NOW_S + 7, "timeout", begun_s=NOW_S - 1, chance=0.5)
    assert not health.is_failing


def test_the_longer_it_was_away_the_longer_it_is_left_alone() -> None:
    health = opened()
    now_s, spans = NOW_S, []
    while now_s < NOW_S + 8000:
        now_s = health.standing.until_s
        spans.append(now_s - health.standing.since_s)
        assert health.pass_time(now_s)
        health.failed(now_s, "connect", begun_s=now_s, chance=1.0, is_probe=True)
    assert spans == sorted(spans)
    assert spans[0] == OPEN_MIN_S
    assert spans[-1] == OPEN_MAX_S
    assert next(index for index, span_s in enumerate(spans) if span_s > 6.0) > 10


def test_an_outage_goes_on_where_the_circuit_opens_again_at_once() -> None:
    health = half_opened(NOW_S)
    health.succeeded(NOW_S + 6, begun_s=NOW_S + 5.5, is_probe=True)
    failures(health, 5, NOW_S + 16)
    assert health.standing.outage_s == NOW_S
    health = half_opened(NOW_S)
    health.succeeded(NOW_S + 6, begun_s=NOW_S + 5.5, is_probe=True)
    failures(health, 5, NOW_S + 16.1)
    assert health.standing.outage_s == NOW_S + 16.1


# -- pauses --------------------------------------------------------------------------------------


def test_a_rate_limit_ends_by_itself() -> None:
    health = Health("a")
    assert health.paused("rate_limited", NOW_S, 3.0, "status 429")
    assert (health.standing.state, health.standing.until_s) == ("rate_limited", NOW_S + 3)
    assert not health.pass_time(NOW_S + 2.9)
    assert health.pass_time(NOW_S + 3.0)
    assert health.standing.state == "ready"


def test_a_rate_limit_is_no_failure() -> None:
    health = Health("a")
    for second in range(30):
        health.paused("rate_limited", NOW_S + second, 0.5, "status 429")
        health.pass_time(NOW_S + second + 0.5)
    assert not health.is_failing
    failures(health, 4, NOW_S + 40)
    health.paused("rate_limited", NOW_S + 40, 0.5, "status 429")
    health.pass_time(NOW_S + 41)
    assert failures(health, 1, NOW_S + 41), "the row of failures was forgotten"


def test_refusals_that_come_together_are_one_pause() -> None:
    health = Health("a")
    assert health.paused("rate_limited", NOW_S, 3.0, "")
    assert not health.paused("rate_limited", NOW_S + 0.9, 3.0, "")
    assert not health.paused("rate_limited", NOW_S + 0.9, 0.1, "")
    assert health.paused("rate_limited", NOW_S + 1.1, 3.0, "")


def test_a_pause_of_no_length_is_none() -> None:
    assert not Health("a").paused("rate_limited", NOW_S, 0.0, "")


def test_a_pause_ends_after_a_day_at_most() -> None:
    health = Health("a")
    health.paused("rate_limited", NOW_S, 1e9, "")
    assert health.standing.until_s == NOW_S + PAUSE_MAX_S


@pytest.mark.parametrize("pause", ["no_quota", "credential_refused", "loading"])
def test_other_pauses_end_with_one_request(pause: Pause) -> None:
    health = Health("a")
    assert health.paused(pause, NOW_S, 60.0, "said so")
    assert not health.paused(pause, NOW_S + 30, 60.0, "said so")
    assert health.pass_time(NOW_S + 60)
    assert (health.standing.state, health.standing.reason) == ("half_open", "said so")


@pytest.mark.parametrize("pause", ["no_quota", "credential_refused", "loading"])
def test_an_answer_ends_them_too(pause: Pause) -> None:
    health = Health("a")
    health.paused(pause, NOW_S, 60.0, "said so")
    assert not health.succeeded(NOW_S + 1, begun_s=NOW_S - 1), "begun before it was said"
    assert health.succeeded(NOW_S + 2, begun_s=NOW_S + 1)
    assert health.standing.state == "ready"


def test_a_rate_limit_keeps_an_open_circuit_open() -> None:
    health = half_opened()
    assert health.paused("rate_limited", NOW_S + 5, 30.0, "status 429")
    assert (health.standing.state, health.standing.until_s) == ("failing", NOW_S + 35)
    assert health.pass_time(NOW_S + 35)
    assert health.standing.state == "half_open"


# -- other workers -------------------------------------------------------------------------------


def test_the_latest_word_counts() -> None:
    one, other = opened(), Health("a")
    assert other.adopt(one.standing)
    assert other.standing == one.standing
    assert not other.adopt(one.standing)
    other.pass_time(NOW_S + 5)
    other.succeeded(NOW_S + 6, begun_s=NOW_S + 5, is_probe=True)
    assert not other.adopt(one.standing)
    assert one.adopt(other.standing)
    assert one.standing.state == "ready"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["good", "bad", "probe good", "probe bad", "limit", "quota", "tick"]),
        st.floats(0, 20),
        st.floats(0, 1),
    ),
    max_size=80,
)


@given(STEPS)
def test_whatever_happens_every_pause_ends(steps: Sequence[tuple[str, float, float]]) -> None:
    health, now_s = Health("a"), NOW_S
    for word, wait_s, chance in steps:
        now_s += wait_s
        before = health.standing
        is_probe = word.startswith("probe") and before.state == "half_open"
        if "good" in word:
            health.succeeded(now_s, begun_s=now_s, is_probe=is_probe)
        elif "bad" in word:
            health.failed(now_s, "x", begun_s=now_s, chance=chance, is_probe=is_probe)
        elif word == "tick":
            health.pass_time(now_s)
        else:
            health.paused("rate_limited" if word == "limit" else "no_quota", now_s, 60.0, "y")
        standing = health.standing
        assert standing.until_s - now_s <= max(OPEN_MAX_S, 60.0)
        assert (standing.until_s > 0) == (standing.state not in ("ready", "half_open"))
        if standing is not before:
            assert standing.since_s == now_s
    health.pass_time(now_s + PAUSE_MAX_S)
    assert health.standing.state in ("ready", "half_open")
