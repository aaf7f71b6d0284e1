from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.plausibility import (
    as_number,
    check_passes,
    is_in_text,
    leaves,
    numbers_in,
    pointer_parts,
    resolve,
)
from policies.schema_check import SchemaCheck
from policies.words import Check

DOCUMENT = {"a": {"b/c": [10, {"~": None}]}, "": 1, "payoff": 1250.1}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", DOCUMENT),
        ("/", 1),
        ("/payoff", 1250.1),
        ("/a/b~1c/0", 10),
        ("/a/b~1c/1/~0", None),
    ],
)
def test_resolves_pointers(pointer, value):
    assert resolve(DOCUMENT, pointer) == value


@pytest.mark.parametrize(
    "pointer", ["/x", "/payoff/x", "/a/b~1c/2", "/a/b~1c/-1", "/a/b~1c/01", "/a/b~1c/x"]
)
def test_check_on_what_is_not_there_fails(pointer):
    assert not check_passes(Check("c", pointer, SchemaCheck(True)), DOCUMENT, "")


@pytest.mark.parametrize("pointer", ["a", "/a~", "/a~2", "#/a"])
def test_refuses_what_is_no_pointer(pointer):
    with pytest.raises(ValueError, match="JSON pointer"):
        pointer_parts(pointer)


@given(st.lists(st.text(max_size=4), max_size=4))
def test_any_key_can_be_pointed_at(keys):
    document: object = 7
    for key in reversed(keys):
        document = {key: document}
    pointer = "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)
    assert resolve(document, pointer) == 7


@pytest.mark.parametrize(
    ("value", "text", "expected"),
    [
        (1250.1, "Payoff 1,250.10 as of today", True),
        (1250.1, "Payoff $1250.1.", True),
        ("1,250.10", "Payoff 1250.1", True),
        ("$ 1250.10", "Payoff 1,250.10", True),
        (1250.1, "Payoff 1,250.11", False),
        (1250, "Payoff 12,500", False),
        (10, "100", False),
        (1, "one", False),
        (-5, "balance -5.00", True),
        (4, "3-4 days", True),
        (0.5, "a half: .5", True),
        ("ACME  Corp", "paid to acme corp today", True),
        ("ACME", "paid to nobody", False),
        (None, "", True),
        (True, "", True),
        ({"a": [1, "x"]}, "x costs 1", True),
        ({"a": [1, "x"]}, "x costs 2", False),
    ],
)
def test_value_is_in_the_prompt_by_value_not_by_spelling(value, text, expected):
    assert check_passes(Check("c", "", None, in_prompt=True), value, text) is expected


def test_check_needs_both_schema_and_prompt():
    check = Check("c", "/x", SchemaCheck({"type": "number"}), in_prompt=True)
    assert check_passes(check, {"x": 5}, "5")
    assert not check_passes(check, {"x": "5"}, "5")
    assert not check_passes(check, {"x": 5}, "6")


@given(st.decimals(min_value=0, max_value=10**9, places=2))
def test_amount_is_found_however_it_is_written(amount):
    for written in (f"{amount}", f"{amount:,}", f"${amount:,.2f}", f"({float(amount)!r})"):
        if "e" not in written:
            assert is_in_text(float(amount), f"pay {written} now"), written


def test_numbers_that_are_none_are_not_numbers():
    assert as_number(float("inf")) is None
    assert as_number("12 monkeys") is None
    assert numbers_in("v1.2.3") >= {Decimal("1.2")}


def test_leaves_of_any_depth():
    deep: object = 1
    for _ in range(5000):
        deep = [deep]
    assert list(leaves(deep)) == [1]
