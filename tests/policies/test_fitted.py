"""What a fit says of a prompt and of an answer, and what it leaves unknown."""

from math import exp, inf, nan

import pytest

from policies.answer_features import ANSWER_NAMES
from policies.fitted import (
    GIVEN_NAMES,
    NOTHING_FITTED,
    Fitted,
    Given,
    given_features,
    logprob_summary,
    signal_numbers,
)
from policies.text_features import SHAPE_NAMES
from policies.text_model import Head, TextModel, pack_grams

NO_WORDS = pack_grams(10, [], [], [[]])


def prompts() -> TextModel:
    zeros = (0.0,) * len(SHAPE_NAMES)
    return TextModel((NO_WORDS,), (Head("local", 2.0, zeros, {"law": -4.0}),), 10)


def answers() -> TextModel:
    weights = [0.0] * len(GIVEN_NAMES)
    weights[GIVEN_NAMES.index("confidence")] = 4.0
    return TextModel((NO_WORDS, NO_WORDS), (Head("local", -2.0, tuple(weights), {}),), 10)


def test_a_prompt_has_a_chance_per_backend_that_was_fitted() -> None:
    fitted = Fitted("d", prompts())
    assert fitted.acceptable("Say hi", "t") == {"local": pytest.approx(1 / (1 + exp(-2)))}
    assert fitted.acceptable("Say hi", "law")["local"] < 0.2
    assert NOTHING_FITTED.acceptable("Say hi", "t") == {}


def test_an_answer_is_trusted_as_its_signals_say() -> None:
    fitted = Fitted("d", None, answers())
    sure = fitted.trust("local", Given("q", "a", 1.0), "t")
    unsure = fitted.trust("local", Given("q", "a", 0.0), "t")
    assert sure is not None
    assert unsure is not None
    assert unsure < 0.2 < 0.8 < sure


def test_a_backend_without_labels_is_unknown() -> None:
    assert Fitted("d", None, answers()).trust("gpt-4", Given("q", "a", 1.0), "t") is None
    assert NOTHING_FITTED.trust("local", Given("q", "a", 1.0), "t") is None


@pytest.mark.parametrize("confidence", [None, nan, inf, -0.1, 1.1])
def test_a_confidence_that_is_none_counts_as_unknown(confidence: float | None) -> None:
    assert signal_numbers(Given("q", "a", confidence))[:2] == (0.0, 0.5)


def test_logprobs_count_as_probabilities() -> None:
    numbers = signal_numbers(Given("q", "a", 1.0, -0.5, -2.0))
    assert numbers == (1.0, 1.0, 1.0, exp(-0.5), exp(-2.0))
    assert signal_numbers(Given("q", "a", 1.0, nan, 3.0))[3:] == (0.5, 1.0)
    assert logprob_summary([-1.0, -3.0]) == (-2.0, -3.0)
    assert logprob_summary(()) == logprob_summary(None) == (None, None)


def test_every_figure_has_a_name() -> None:
    texts, numbers = given_features(Given("1 + 1?", "1 + 1 = 2", 1.0))
    assert len(texts) == 2
    assert len(numbers) == len(GIVEN_NAMES) == len(ANSWER_NAMES) + 5
