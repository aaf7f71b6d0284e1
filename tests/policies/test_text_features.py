"""Features of a text: what counts, what does not, and that nothing can break or stall them."""

import re
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.text_features import (
    SHAPE_NAMES,
    SLOT_BITS_MAX,
    TEXT_CHARACTERS_MAX,
    TOKENS_MAX,
    read_part,
    shape_of,
    slots_of,
    tokens_of,
)

QUESTION = "Which is NOT right?\nA. One bar | two\nB. It's\nC. 12\nD. 12\nAnswer:"


def test_words_and_single_signs_are_tokens() -> None:
    assert tokens_of("It's 3.5%, NOT x") == [
        b"it", b"'", b"s", b"3", b".", b"5", b"%", b",", b"not", b"x"
    ]  # fmt: skip


def test_words_of_other_scripts_stay_whole() -> None:
    assert tokens_of("größer 東京") == ["größer".encode(), "東京".encode()]


@given(st.text() | st.text("aZ9_,.$\u00e9\u6771 \n\t\x1c"))
def test_tokens_are_those_of_the_plain_expression(text: str) -> None:
    plain = re.compile(rb"[a-z0-9_\x80-\xff]+|[^\sa-z0-9_\x80-\xff]")
    assert tokens_of(text) == plain.findall(text.lower().encode("utf-8", "replace"))


@given(st.lists(st.binary(max_size=5), max_size=40), st.integers(1, SLOT_BITS_MAX))
def test_slots_are_those_of_the_plain_formula(tokens: list[bytes], bits: int) -> None:
    hashes = [crc32(token) for token in tokens]
    plain = {word % (1 << bits) for word in hashes}
    followers = [*hashes[1:], 0]
    plain |= {
        (follower ^ word >> 7) % (1 << bits)
        for word, follower in zip(hashes, followers, strict=False)
    }
    assert slots_of(tokens, bits) == plain


def test_a_pair_counts_in_its_order() -> None:
    one, other = slots_of([b"a", b"b", b"."], 18), slots_of([b"b", b"a", b"."], 18)
    assert len(one) == len(other) == 6
    assert len(one & other) == 4


def test_slots_are_the_same_in_every_process() -> None:
    assert sorted(slots_of([b"not", b"right"], 18)) == [103658, 130421, 161044, 163566]


def test_a_list_of_tokens_longer_than_any_text_is_cut() -> None:
    assert slots_of([b"x"] * TOKENS_MAX + [b"y"], 18) == slots_of([b"x"] * TOKENS_MAX, 18)


@pytest.mark.parametrize("bits", [10, 18])
def test_nothing_has_no_slots(bits: int) -> None:
    assert slots_of([], bits) == set()


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
    assert len(slots_of(tokens, SLOT_BITS_MAX)) <= 2 * len(tokens)
