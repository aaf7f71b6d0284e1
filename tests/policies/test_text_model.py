"""The served model: its sums against the plain formula, and what is unknown counts nothing."""

from math import exp, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.text_features import grams_of, shape_of, tokens_of
from policies.text_model import Head, TextModel, lanes_of, probability

WORDS = ["law", "tax", "cell", "ion", "war", "verb"]
NUMBERS = len(shape_of("", []))


def gram(word: str) -> int:
    return next(iter(grams_of([word.encode()])))


def model(weights: dict[str, tuple[float, float, float]]) -> TextModel:
    """Two heads over single words: (rarity, weight of one, weight of the other)."""
    grams = {
        gram(word): lanes_of((rarity * rarity, one * rarity, other * rarity))
        for word, (rarity, one, other) in weights.items()
    }
    heads = (
        Head("one", 0.25, (0.0,) * NUMBERS, {"law": 1.5}),
        Head("other", -0.5, (0.0,) * NUMBERS, {}),
    )
    return TextModel((grams,), heads, 10)


@given(
    st.lists(st.sampled_from(WORDS), max_size=20),
    st.lists(
        st.tuples(st.floats(1, 10), st.floats(-50, 50), st.floats(-50, 50)),
        min_size=len(WORDS), max_size=len(WORDS),
    ),
)  # fmt: skip
def test_a_prediction_is_the_plain_formula(
    words: list[str], values: list[tuple[float, float, float]]
) -> None:
    weights = dict(zip(WORDS, values, strict=True))
    said = set(words)
    length = sqrt(sum(weights[word][0] ** 2 for word in said)) or 1.0
    expected = [
        bias + sum(weights[word][0] * weights[word][column] for word in said) / length
        for bias, column in ((0.25, 1), (-0.5, 2))
    ]
    found = model(weights).predict_prompt(" ".join(words), "unheard of")
    assert found == pytest.approx([1 / (1 + exp(-logit)) for logit in expected], abs=1e-6)


def test_a_known_task_counts_for_its_own_backend_only() -> None:
    learned = model({"law": (1.0, 0.0, 0.0)})
    with_task, without = learned.predict_prompt("law", "law"), learned.predict_prompt("law", "")
    assert with_task[0] > without[0]
    assert with_task[1] == without[1]


def test_an_empty_text_gets_what_is_left() -> None:
    assert model({}).predict_prompt("", "") == [probability(0.25), probability(-0.5)]


def test_a_repeated_word_counts_once() -> None:
    learned = model({"law": (2.0, 1.0, -1.0), "tax": (1.0, 3.0, 3.0)})
    assert learned.predict_prompt("law tax law law", "") == learned.predict_prompt("tax law", "")


def test_a_probability_stays_one_however_sure() -> None:
    assert 0.0 < probability(-1e9) < probability(1e9) <= 1.0


def test_long_texts_fit_their_lanes() -> None:
    learned = model(dict.fromkeys(WORDS, (10.0, -50.0, 50.0)))
    found = learned.predict((tokens_of(" ".join(WORDS * 500)),), (0.0,) * NUMBERS, "")
    assert found[0] < 1e-6 < 1 - 1e-6 < found[1]
