import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.glob import compile_glob, covers, example, fits, is_literal, literal_prefix

PATTERN = st.text(alphabet="ab*?", max_size=5)
NAME = st.text(alphabet="abc", max_size=5)


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("gpt-4", "gpt-4", True),
        ("gpt-4", "gpt-4o", False),
        ("gpt-*", "gpt-4o", True),
        ("gpt-*", "gpt-", True),
        ("gpt-?", "gpt-", False),
        ("*-mini", "o3-mini", True),
        ("GPT-4", "gpt-4", False),
        ("a[b]", "a[b]", True),
        ("a[b]*", "a[b]c", True),
        ("a[b]*", "ab", False),
        ("a.c*", "abc", False),
        ("a*", "a\nb", True),
    ],
)
def test_fits(pattern, name, expected):
    assert fits(pattern, name) is expected


def test_literal_has_no_wildcard():
    assert is_literal("gpt-4[1]")
    assert not is_literal("gpt-?")
    assert not is_literal("*")


@given(PATTERN)
def test_every_name_begins_with_the_literal_prefix(pattern):
    assert example(pattern).startswith(literal_prefix(pattern))
    assert is_literal(literal_prefix(pattern))


@given(PATTERN)
def test_example_fits_its_pattern(pattern):
    assert fits(pattern, example(pattern))


def test_many_stars_cost_no_more_than_the_name_is_long():
    pattern = compile_glob("*a" * 20 + "*b")
    started = time.process_time()
    assert not pattern.fullmatch("a" * 256)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    ("wide", "narrow", "expected"),
    [
        ("*", "a*", True),
        ("a*", "*", False),
        ("a*", "ab*", True),
        ("a*", "abc", True),
        ("a*b*", "ab", True),
        ("*?", "?*", True),
        ("?*", "*", False),
        ("??", "?", False),
        ("*a*", "*aa*", True),
        ("a?", "ab", True),
        ("ab", "a?", False),
        ("*x*y*", "x?y", True),
    ],
)
def test_covers(wide, narrow, expected):
    assert covers(wide, narrow) is expected


@given(PATTERN, PATTERN, NAME)
def test_what_is_covered_fits_wherever_the_narrow_pattern_does(wide, narrow, name):
    if covers(wide, narrow) and fits(narrow, name):
        assert fits(wide, name)


@given(PATTERN, PATTERN)
def test_what_is_not_covered_has_a_name_to_show_for_it(wide, narrow):
    if not covers(wide, narrow):
        witnesses = _names_of(narrow)
        assert any(not fits(wide, name) for name in witnesses)


def test_gives_up_on_automata_that_explode():
    wide, narrow = "*a" + "?" * 16, "*ab" + "?" * 15
    assert covers("*a???", "*ab??")
    assert not covers(wide, narrow)  # it does, but it would take 2^16 states to show


def _names_of(pattern):
    """Names that tell any two short patterns apart: every star as nothing, and as many."""
    names = [""]
    for part in re.findall(r"\*|\?|[^*?]", pattern):
        choices = {"*": ["", "z", "b", "a", "zzzzzzz", "ab", "ba"], "?": ["z", "a", "b"]}
        names = [name + choice for name in names for choice in choices.get(part, [part])]
    return names
