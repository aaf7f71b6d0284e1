"""Features of a text: what counts, what does not, and that nothing can break or stall them."""

from hypothesis import given
from hypothesis import strategies as st

from policies.text_features import (
    SHAPE_NAMES,
    TEXT_CHARACTERS_MAX,
    grams_of,
    read_part,
    shape_of,
    tokens_of,
)

QUESTION = "Which is NOT right?\nA. One bar | two\nB. It's\nC. 12\nD. 12\nAnswer:"


def test_words_and_single_signs_are_tokens() -> None:
    assert tokens_of("It's 3.5%, NOT x") == [
        b"it", b"'", b"s", b"3", b".", b"5", b"%", b",", b"not", b"x"
    ]  # fmt: skip


def test_words_of_other_scripts_stay_whole() -> None:
    assert tokens_of("größer 東京") == ["größer".encode(), "東京".encode()]


def test_a_pair_counts_in_its_order() -> None:
    one, other = grams_of([b"a", b"b"]), grams_of([b"b", b"a"])
    assert len(one) == len(other) == 3
    assert len(one & other) == 2


def test_hashes_are_the_same_in_every_process() -> None:
    assert grams_of([b"not", b"right"]) == {134610293, 3033167124, 1072077874}


def test_the_shape_of_options_is_read() -> None:
    shape = dict(zip(SHAPE_NAMES, shape_of(QUESTION, tokens_of(QUESTION)), strict=True))
    assert shape["options"] == 4
    assert shape["bars"] > 0
    assert shape["apostrophes"] > 0
    assert shape["options_repeated"] == 1 - 6 / 8
    assert shape["longest"] > shape["shortest"] > 0


def test_a_text_without_options_has_none() -> None:
    shape = dict(zip(SHAPE_NAMES, shape_of("Hi", tokens_of("Hi")), strict=True))
    assert shape["options"] == shape["longest"] == shape["shortest"] == 0


def test_of_a_long_text_beginning_and_end_are_read() -> None:
    text = "begin " + "x" * 10_000 + " end"
    part = read_part(text)
    assert len(part) <= TEXT_CHARACTERS_MAX + 1
    assert part.startswith("begin")
    assert part.endswith("end")


@given(st.text())
def test_any_text_has_a_shape_and_tokens(text: str) -> None:
    tokens = tokens_of(text)
    assert len(shape_of(text, tokens)) == len(SHAPE_NAMES)
    assert len(grams_of(tokens)) <= max(0, 2 * len(tokens) - 1)
