import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.answer_match import COMPARISONS, answer_text, canonical

SAME = [
    ("auto", "1250.10", "$1,250.1", True),
    ("auto", "Yes", " yes\n", True),
    ("auto", '{"a": 1, "b": "x"}', '{"b":"x","a":1.0}', True),
    ("auto", '{"a": 1}', '```json\n{"a": 1}\n```', True),
    ("auto", '{"a": 1}', '{"a": 2}', False),
    ("auto", '{"a": 1}', "The answer is 1", False),
    ("auto", '{"a": true}', '{"a": 1}', False),
    ("json", "[1, 2]", "[1,2]", True),
    ("json", "hello", "hello", False),
    ("text", "1250.10", "1250.1", False),
    ("text", "Café", "CAFÉ", True),
    ("exact", "a", "A", False),
    ("contains", "1250.10", "The payoff is $1,250.10 today", True),
    ("contains", '{"payoff": 1250.1}', "It is 1,250.10.", True),
    ("contains", "1250.10", "It is 1,250.20", False),
]


@pytest.mark.parametrize(("how", "expected", "given_", "same"), SAME)
def test_says_the_same(how, expected, given_, same):
    assert COMPARISONS[how](expected, given_) is same


@given(st.text(), st.text())
def test_canonical_is_what_auto_compares(a, b):
    assert COMPARISONS["auto"](a, b) == (canonical(a) == canonical(b))
    assert COMPARISONS["auto"](a, a)


def test_tool_calls_are_compared_by_function_and_arguments():
    def message(identifier, arguments):
        function = {"name": "look", "arguments": arguments}
        return {"tool_calls": [{"id": identifier, "type": "function", "function": function}]}

    a, b = answer_text(message("1", '{"x": 1, "y": 2}')), answer_text(message("2", '{"y":2,"x":1}'))
    assert a == b
    assert answer_text(message("1", "{")) != a


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "a"}, "a"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "a\nb"),
        ({"content": None, "refusal": "no"}, "no"),
        ({}, ""),
    ],
)
def test_the_text_of_a_message(message, text):
    assert answer_text(message) == text
