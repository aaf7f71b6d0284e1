"""A canary's sequential test."""

import random

from policies.canary_trial import CanaryTrial, begin, observe, verdict

MARGINS = {"error": (0.05, 1.0), "cost": (0.1, 1.0)}


def play(error: float, count: int = 2000, seed: int = 0) -> str:
    chance = random.Random(seed)
    test = begin(MARGINS, delta=0.05, min_samples=50)
    for _ in range(count):
        difference = float(chance.random() < max(error, 0)) - float(
            chance.random() < max(-error, 0)
        )
        test = observe(test, {"error": difference, "cost": -0.3})
        if verdict(test)[0] != "wait":
            break
    return verdict(test)[0]


def test_a_worse_backend_is_rolled_back() -> None:
    assert play(0.3) == "roll_back"


def test_an_equal_one_is_kept() -> None:
    assert play(0.0) == "keep"


def test_what_is_not_seen_often_enough_waits() -> None:
    test = begin(MARGINS, delta=0.05, min_samples=500)
    for _ in range(499):
        test = observe(test, {"error": 0.0, "cost": -1.0})
    assert verdict(test) == ("wait", "499 of 500 samples")
    assert verdict(observe(test, {"error": 0.0, "cost": -1.0}))[0] == "keep"


def test_one_matter_unproved_holds_up_all() -> None:
    test = begin(MARGINS, delta=0.05, min_samples=1)
    for _ in range(600):
        test = observe(test, {"error": 0.0})
    assert verdict(test) == ("wait", "not proved yet: cost")


def test_unknown_differences_tell_nothing() -> None:
    test: CanaryTrial = begin(MARGINS, delta=0.05, min_samples=1)
    assert observe(test, {"error": None, "cost": float("nan")}) == test
