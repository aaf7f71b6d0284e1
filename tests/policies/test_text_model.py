"""The served model: its sums against the plain formula, and what is unknown counts nothing."""

from math import exp, sqrt
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.text_features import shape_of, slots_of, tokens_of
from policies.text_model import HALF_BITS, Head, TextModel, pack_grams, probability

WORDS = ["law", "tax", "cell", "ion", "war", "verb"]
NUMBERS = len(shape_of("", []))
BITS = 14


def slot(word: str) -> int:
    """The word's own; the pair's of an only word with nothing is another."""
    return crc32(word.encode()) % (1 << BITS)


def model(weights: dict[str, tuple[float, float, float]]) -> TextModel:
    """Two heads over single words: (rarity, weight of one, weight of the other)."""
    values = weights.values()
    grams = pack_grams(
        BITS,
        [slot(word) for word in weights],
        [rarity * rarity for rarity, _, _ in values],
        [[one * rarity for rarity, one, _ in values], [two * rarity for rarity, _, two in values]],
    )
    heads = (
        Head("one", 0.25, (0.0,) * NUMBERS, {"law": 1.5}),
        Head("other", -0.5, (0.0,) * NUMBERS, {}),
    )
    return TextModel((grams,), heads, 10)


def rarity() -> st.SearchStrategy[float]:
    """As exact as a fit makes them."""
    return st.integers(256, 25600).map(lambda square: sqrt(square / 256))


@given(
    st.lists(st.sampled_from(WORDS), max_size=20),
    st.lists(
        st.tuples(rarity(), st.floats(-50, 50), st.floats(-50, 50)),
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


def test_words_do_not_share_a_slot() -> None:
    assert len({found for word in WORDS for found in slots_of([word.encode()], BITS)}) == 12


def test_long_texts_fit_their_lanes() -> None:
    learned = model(dict.fromkeys(WORDS, (10.0, -50.0, 50.0)))
    found = learned.predict((tokens_of(" ".join(WORDS * 500)),), (0.0,) * NUMBERS, "")
    assert found[0] < 1e-6 < 1 - 1e-6 < found[1]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_all_slots_at_once_fit_their_halves(sign: float) -> None:
    heads = [[sign * 40.0] * 8000, [-sign] * 8000, [sign] * 8000]
    grams = pack_grams(BITS, range(1, 8001), [200.0] * 8000, heads)
    logits = [0.0, 0.0, 0.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("policies.text_model.slots_of", lambda *_: set(range(1, 8001)))
        grams.add_to(logits, [])
    length = sqrt(200.0 * 8000)
    expected = [sign * 40.0 * 8000 / length, -sign * 8000 / length, sign * 8000 / length]
    assert logits == pytest.approx(expected, rel=1e-5)


def test_two_heads_or_three_take_two_arrays() -> None:
    for heads, arrays in ((1, 1), (2, 2), (3, 2), (4, 3)):
        assert len(pack_grams(10, [1], [1.0], [[1.0]] * heads).pairs) == arrays
    assert HALF_BITS == 32


def test_tables_compare_by_what_they_hold() -> None:
    one, same = (pack_grams(10, [1], [1.0], [[2.0]]) for _ in range(2))
    assert one == same
    assert hash(one) == hash(same)
    assert one != pack_grams(10, [2], [1.0], [[2.0]])
    assert one != "a table"
