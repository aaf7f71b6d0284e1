"""Sentences and JSON where no answer is known."""

import random

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.simulated.text import count_tokens, json_value, sentence, split_tokens


@given(st.text())
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(split_tokens(text)) == text


def test_a_sentence_has_about_the_tokens_asked_for() -> None:
    for tokens in (1, 10, 200):
        text = sentence("What of it?", tokens, random.Random(1))
        assert len(split_tokens(text)) == pytest.approx(tokens, abs=2)
    assert count_tokens("") == 0
    assert count_tokens("a") == 1


SCHEMAS = [
    {"type": "object", "properties": {"a": {"type": "integer", "minimum": 3, "maximum": 5}},
     "required": ["a"], "additionalProperties": False},
    {"type": "array", "items": {"type": "string", "minLength": 8, "maxLength": 9}, "minItems": 3},
    {"type": ["number", "null"], "exclusiveMinimum": 10, "exclusiveMaximum": 11},
    {"type": "integer", "maximum": -5},
    {"type": "integer", "multipleOf": 7, "minimum": 15, "maximum": 30},
    {"enum": ["x", "y"]},
    {"const": {"k": [1]}},
    {"anyOf": [{"type": "boolean"}, {"type": "string"}]},
    {"allOf": [{"type": "object", "properties": {"p": {"type": "null"}}}], "required": ["p"]},
    {"$defs": {"n": {"type": "object", "properties": {"v": {"type": "number"},
     "next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/n"}]}}, "required": ["v", "next"]}},
     "$ref": "#/$defs/n"},
    {"type": "string", "format": "date"},
    {"type": "string", "format": "uuid"},
    {"properties": {"deep": {"items": {"type": "boolean"}, "minItems": 1}}, "required": ["deep"]},
]  # fmt: skip


@pytest.mark.parametrize("schema", SCHEMAS)
def test_json_fits_its_schema(schema: dict[str, object]) -> None:
    validator = jsonschema_rs.validator_for(schema, validate_formats=True)
    for seed in range(10):
        value = json_value(schema, "Pay 17.50 for 28 by 4", random.Random(seed))
        assert validator.is_valid(value), value


def test_a_schema_that_never_ends_is_cut_off() -> None:
    endless = {"properties": {"again": {"$ref": "#"}}}
    assert json_value(endless, "", random.Random(1)) is not None
    assert json_value({"$ref": "#"}, "", random.Random(1)) is not None


def test_numbers_come_from_the_prompt_where_they_fit() -> None:
    schema = {"properties": {"a": {"type": "number"}, "b": {"type": "integer", "minimum": 2}}}
    value = json_value(schema, "1,250.10 and 1 and 12", random.Random(1))
    assert value == {"a": 1250.1, "b": 12}
