"""The floor under `make bench-learning`'s canaries: fewer of them, the same seeds every time."""

import pytest

from benchmarks.canaries import FALSE_PROMOTES_MAX, MODELS, Model, play, play_all

BY_NAME = {model.name: model for model in MODELS}


@pytest.mark.parametrize(
    "model", [one for one in MODELS if one.name.startswith("bad")], ids=lambda model: model.name
)
def test_bad_ones_are_stopped(model: Model) -> None:
    found = play_all(model, canaries=6, answers=3000)
    assert found.share("promoted") == 0.0
    assert found.share("rolled_back") == 1.0


@pytest.mark.parametrize("name", ["error at the limit", "latency at the limit"])
def test_those_at_a_limit_are_seldom_promoted(name: str) -> None:
    found = play_all(BY_NAME[name], canaries=20, answers=700)
    assert found.share("promoted") <= FALSE_PROMOTES_MAX


def test_good_ones_take_over() -> None:
    assert play_all(BY_NAME["good"], canaries=5, answers=4000).share("promoted") >= 0.8


def test_a_seed_is_a_life() -> None:
    model = BY_NAME["bad: error of 50 %"]
    assert play(model, 3, answers=500) == play(model, 3, answers=500)
