"""A canary's sequential tests: what is proved, what is broken, and what proves nothing."""

import random

import msgspec
import pytest

from policies.canary_trial import (
    COSTS_FIRST,
    LABELS_DECIDE,
    RESERVE,
    Allowed,
    CanaryTrial,
    Matter,
    Seen,
    begin,
    broken,
    deciding,
    describe,
    next_stage,
    observe_label,
    observe_new,
    observe_old,
    observe_pair,
    unproved,
)


def seen(loss: float = 0.0, *, is_judged: bool = True, cost_usd: float | None = None) -> Seen:
    return Seen(loss=loss, is_judged=is_judged, cost_usd=cost_usd)


def play(new_error: float, old_error: float = 0.1, count: int = 3000, seed: int = 0) -> CanaryTrial:
    chance = random.Random(seed)
    trial = begin(Allowed(error=0.05))
    for _ in range(count):
        trial = observe_old(trial, seen(float(chance.random() < old_error)))
        trial = observe_new(trial, seen(float(chance.random() < new_error)))
        if broken(trial, stages=1) is not None or not unproved(trial):
            break
    return trial


def matter(trial: CanaryTrial, name: str) -> Matter:
    return next(one for one in trial.matters if one.name == name)


def test_a_worse_backend_is_found() -> None:
    trial = play(0.4)
    assert "proved worse than allowed" in (broken(trial, stages=1) or "")
    assert unproved(trial)


def test_a_better_one_is_proved() -> None:
    trial = play(0.05)
    assert broken(trial, stages=1) is None
    assert unproved(trial) == []


def test_answers_nothing_looked_at_prove_nothing_but_failures_count() -> None:
    trial = begin(Allowed(error=0.05))
    for _ in range(2000):
        trial = observe_old(trial, seen(is_judged=False))
        trial = observe_new(trial, seen(is_judged=False))
    assert unproved(trial) == ["error +0 pp (at most +5 pp) of 2000 answers"]
    for _ in range(40):
        trial = observe_old(trial, seen(is_judged=False))
        trial = observe_new(trial, seen(1.0, is_judged=False))
    failing = next_stage(trial)
    for _ in range(40):
        failing = observe_old(failing, seen(is_judged=False))
        failing = observe_new(failing, seen(1.0, is_judged=False))
    assert broken(failing, stages=1) is not None


def test_pairs_are_compared_request_by_request() -> None:
    trial = begin(Allowed(error=0.05))
    for number in range(200):
        loss = float(number % 2)
        trial = observe_pair(trial, seen(loss), seen(loss))
    assert matter(trial, "error").mean == 0.0
    assert unproved(trial) == []


def test_labels_decide_once_there_are_enough_of_them() -> None:
    trial = begin(Allowed(error=0.05))
    for _ in range(LABELS_DECIDE - 1):
        trial = observe_label(trial, new=1.0, old=1.0)
    assert [one.name for one in deciding(trial)] == ["error"]
    trial = next_stage(observe_label(trial, new=1.0, old=1.0))
    assert [one.name for one in deciding(trial)] == ["labels"]


def test_labels_roll_back_whatever_the_checks_say() -> None:
    trial = begin(Allowed(error=0.05))
    for _ in range(30):
        trial = observe_pair(trial, seen(), seen())
        trial = observe_label(trial, old=0.0, new=None)
        trial = observe_label(trial, new=1.0, old=None)
    assert "error by labels" in (broken(trial, stages=1) or "")


def test_late_is_a_share_of_the_new_ones_answers() -> None:
    trial = begin(Allowed(late=0.05))
    for _ in range(20):
        trial = observe_old(trial, Seen(is_late=True))
    assert matter(trial, "late").count == 0
    for _ in range(120):
        trial = observe_new(trial, Seen(is_late=False))
    assert unproved(trial) == []
    slow = next_stage(trial)
    assert matter(slow, "late").count == 0
    for _ in range(10):
        slow = observe_new(slow, Seen(is_late=True))
    assert broken(slow, stages=4) is not None


def test_costs_are_compared_once_the_old_ones_are_known() -> None:
    trial = begin(Allowed(cost=0.0))
    for _ in range(COSTS_FIRST):
        trial = observe_pair(trial, seen(cost_usd=0.001), seen(cost_usd=0.002))
    assert matter(trial, "cost").count == 0
    for _ in range(100):
        trial = observe_pair(trial, seen(cost_usd=0.001), seen(cost_usd=0.002))
    assert matter(trial, "cost").mean == pytest.approx(-0.5)
    assert describe(matter(trial, "cost")) == "cost -50.0% (at most +0.0%) of 100 answers"
    assert unproved(trial) == []


def test_equal_costs_are_proved_within_the_tolerance() -> None:
    trial = begin(Allowed(cost=0.0))
    for _ in range(1000):
        trial = observe_pair(trial, seen(cost_usd=0.002), seen(cost_usd=0.002))
    assert unproved(trial) == []
    assert broken(trial, stages=4) is None


def test_dearer_ones_are_found() -> None:
    trial = begin(Allowed(cost=0.03))
    for _ in range(300):
        trial = observe_pair(trial, seen(cost_usd=0.004), seen(cost_usd=0.002))
    assert "cost +100.0%" in (broken(trial, stages=4) or "")


def test_what_waits_for_the_other_side_is_bounded() -> None:
    trial = begin(Allowed(error=0.05))
    for _ in range(3 * RESERVE):
        trial = observe_old(trial, seen())
    assert len(matter(trial, "error").old) == 2 * RESERVE
    trial = observe_new(trial, seen(1.0))
    assert len(matter(trial, "error").old) == RESERVE
    for _ in range(3 * RESERVE):
        trial = observe_new(trial, seen())
    assert matter(trial, "error").old == ()
    assert len(matter(trial, "error").new) == RESERVE


@pytest.mark.parametrize("value", [None, float("nan"), -1.0])
def test_what_is_unknown_tells_nothing(value: float | None) -> None:
    trial = begin(Allowed(error=0.05, cost=0.1))
    unknown = Seen(loss=value, cost_usd=value, is_judged=True)
    assert observe_pair(trial, unknown, unknown) == trial
    assert observe_new(trial, unknown) == trial
    assert observe_label(trial, new=None, old=None) == trial


def test_outlives_a_restart() -> None:
    trial = play(0.1, count=30)
    assert msgspec.json.decode(msgspec.json.encode(trial), type=CanaryTrial) == trial
