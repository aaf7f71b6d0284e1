"""Both models from labelled captures, and what is refused."""

import random
from collections.abc import Mapping
from typing import Any

import pytest

from learning.fit_captures import FitRefused, FitResult, fit_rows
from learning.labelled import Given, Row
from policies.features import parse_chat, read_features
from policies.fitted import Fitted
from policies.fitted import Given as Seen

EASY, HARD = "add two and three", "prove the theorem of the four squares"


def row(text: str, right: Mapping[str, int], *, confidence: float, fitted: bool = True) -> Row:
    body = b'{"model": "auto", "messages": []}'
    options: dict[str, Any] = {"label_headers": {"task": "t"}, "conversation_header": None}
    features = read_features(parse_chat(body), body_bytes=len(body), caller=None, **options)
    given = Given("local", "it is 5", "5", confidence, -0.1, -0.4)
    return Row("id", "r", features, text, given, "local", (given,), right, "", True, fitted)


def rows(count: int, **changes: Any) -> list[Row]:
    """Local fails on hard ones, and is seldom sure where it is wrong."""
    chance = random.Random(0)
    found = []
    for _ in range(count):
        is_hard = chance.random() < 0.5
        right = int(chance.random() < (0.2 if is_hard else 0.95))
        confidence = 0.9 if right or chance.random() < 0.2 else 0.3
        found.append(
            row(HARD if is_hard else EASY, {"local": right, "gpt-4": 1}, confidence=confidence,
                **changes)
        )  # fmt: skip
    return found


def fitted(count: int) -> FitResult:
    found = fit_rows(rows(count))
    assert isinstance(found, FitResult)
    return found


def test_who_answers_what_well_is_learned() -> None:
    found = fitted(300)
    models = Fitted("d", found.prompts, found.answers)
    hard, easy = models.acceptable(HARD, "t"), models.acceptable(EASY, "t")
    assert hard["local"] < 0.4 < 0.8 < easy["local"]
    assert min(hard["gpt-4"], easy["gpt-4"]) > 0.99
    assert found.labels == 300
    assert sum(found.counts["local"]) == 300


def test_and_how_far_an_answer_is_right() -> None:
    found = fitted(300)
    models = Fitted("d", found.prompts, found.answers)
    sure = models.trust("local", Seen(EASY, "it is 5", 0.9, -0.1, -0.4), "t")
    unsure = models.trust("local", Seen(EASY, "it is 5", 0.3, -0.1, -0.4), "t")
    assert sure is not None
    assert unsure is not None
    assert unsure < 0.5 < 0.9 < sure
    assert "gpt-4" not in found.answer_counts  # its answers were never seen, only its labels


def test_too_few_labels_say_how_many_more() -> None:
    found = fit_rows(rows(30))
    assert isinstance(found, FitRefused)
    assert found.reason.startswith("30 labelled requests are too few to fit on, 10 more")
    assert "about 20 labels" in found.reason


@pytest.mark.parametrize("changes", [{"fitted": False}])
def test_the_half_that_proves_is_not_fitted_on(changes: dict[str, bool]) -> None:
    found = fit_rows(rows(300, **changes))
    assert isinstance(found, FitRefused)
    assert found.labels == 0


def test_requests_without_a_label_are_none() -> None:
    found = fit_rows([one._replace(right={}) for one in rows(300)])
    assert isinstance(found, FitRefused)


def test_without_answers_there_is_no_model_of_them() -> None:
    found = fit_rows([one._replace(answers=()) for one in rows(100)])
    assert isinstance(found, FitResult)
    assert (found.answers, found.answer_counts) == (None, {})
