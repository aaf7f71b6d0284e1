"""The fit: that it learns, that what is served is what was fitted, and what it refuses."""

import random

import numpy as np
import pytest

from learning.fit import Example, _Design, _regression, fit_model, prompt_example

EASY, HARD = "add two and three", "prove the theorem of the four squares"


def prompts(count: int, seed: int = 0) -> tuple[list[Example], list[int], list[int]]:
    """Prompts of two kinds; the weak backend fails on hard ones, the strong one now and then."""
    chance = random.Random(seed)
    examples, weak, strong = [], [], []
    for _ in range(count):
        is_hard = chance.random() < 0.5
        words = (HARD if is_hard else EASY).split()
        chance.shuffle(words)
        examples.append(prompt_example(" ".join(words), "hard" if is_hard else "easy"))
        weak.append(int(chance.random() < (0.1 if is_hard else 0.9)))
        strong.append(int(chance.random() < 0.9))
    return examples, weak, strong


def test_what_is_hard_for_the_weak_backend_is_learned() -> None:
    examples, weak, strong = prompts(400)
    model = fit_model(examples, {"weak": weak, "strong": strong})
    hard, easy = model.predict_prompt(HARD, "hard"), model.predict_prompt(EASY, "easy")
    assert hard[0] < 0.3 < 0.7 < easy[0]
    assert hard[1] > 0.7
    assert model.backends == ("weak", "strong")
    assert model.labels == 400


def test_probabilities_come_true_on_rows_not_seen() -> None:
    examples, weak, strong = prompts(1000)
    model = fit_model(examples, {"weak": weak, "strong": strong})
    others, came, _ = prompts(1000, seed=1)
    said = [model.predict(e.texts, e.numbers, e.task)[0] for e in others]
    assert abs(sum(said) - sum(came)) / 1000 < 0.06  # 3.3 standard errors of a share


def test_what_is_served_is_what_was_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("learning.fit.CALIBRATED_BELOW", 0)
    examples, weak, _ = prompts(300)
    design = _Design(examples)
    fitted = _regression().fit(design.matrix, weak)
    expected = fitted.predict_proba(design.matrix)[:, 1]
    model = fit_model(examples, {"weak": weak})
    served = [model.predict(e.texts, e.numbers, e.task)[0] for e in examples]
    assert np.abs(np.array(served) - expected).max() < 1e-6


def test_missing_labels_are_left_out() -> None:
    examples, weak, _ = prompts(400)
    patchy: list[int | None] = [label if n % 2 else None for n, label in enumerate(weak)]
    model = fit_model(examples, {"weak": patchy})
    half = fit_model(examples, {"weak": patchy, "other": weak})
    hard = examples[0]
    assert model.predict(hard.texts, hard.numbers, "")[0] == pytest.approx(
        half.predict(hard.texts, hard.numbers, "")[0], abs=1e-4
    )


def test_too_few_of_a_kind_give_a_rate() -> None:
    examples, _, _ = prompts(60)
    model = fit_model(examples, {"weak": [1] * 57 + [0] * 3})
    said = [model.predict(e.texts, e.numbers, e.task)[0] for e in examples]
    assert said == pytest.approx([57.5 / 61] * 60)


def test_nothing_labelled_is_refused() -> None:
    with pytest.raises(ValueError, match="no labelled requests"):
        fit_model([], {})
