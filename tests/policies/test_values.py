"""Answers compared as values, not as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.values import agree, number_of, numbers_in, value_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("$195,000", "195000"),
        ("The answer is 18.", "#### 18\n\n"),
        ("1,250.10", "1250.1"),
        ('{"b": 1, "a": [1.0]}', '{"a": [1], "b": 1.00}'),
        ("Yes", " yes. "),
        ("8.00", "8"),
        ('{"amount": "1,250.10"}', '{"amount": 1250.1}'),
    ],
)
def test_the_same_value_agrees_however_it_is_spelt(one: str, other: str) -> None:
    assert agree(one, other) is True


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("10", "100"),
        ("-5", "5"),
        ("yes", "no"),
        ('{"a": true}', '{"a": 1}'),
        ('{"a": 1}', '{"a": 1, "b": null}'),
        ("[1, 2]", "[2, 1]"),
        ("18", '{"a": 18}'),
    ],
)
def test_another_value_does_not(one: str, other: str) -> None:
    assert agree(one, other) is False


@pytest.mark.parametrize("nothing", ["", "  \n"])
def test_an_empty_answer_agrees_with_nothing_and_denies_nothing(nothing: str) -> None:
    assert agree(nothing, "18") is None
    assert agree("18", nothing) is None


def test_the_number_after_the_last_mark_counts() -> None:
    assert number_of("It was 7.\n#### 12 apples\nSo 3 were left") == 12


def test_a_mark_without_a_number_does_not_hide_the_rest() -> None:
    assert number_of("It is 7\n#### seven") == 7


def test_numbers_are_found_in_order() -> None:
    assert [float(number) for number in numbers_in("$1.5 and 2,000, then .5")] == [1.5, 2000, 0.5]


def test_digits_too_long_for_a_quantity_are_text() -> None:
    assert agree("9" * 400, "9" * 400) is True
    assert number_of("9" * 400) is None


@given(st.text())
def test_every_text_agrees_with_itself_or_says_nothing(text: str) -> None:
    assert agree(text, text) is (None if value_of(text) is None else True)
