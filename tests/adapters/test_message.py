"""One message of Anthropic's API: read by type, salvaged where a member is not of its type."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.message import Block, MessageUsage, read_message


def test_reads_a_whole_message() -> None:
    body = (
        b'{"id":"msg_1","type":"message","role":"assistant","model":"claude-x",'
        b'"content":[{"type":"text","text":"hi"},{"type":"tool_use","id":"t","input":{"a":1}}],'
        b'"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":3,'
        b'"cache_read_input_tokens":2,"output_tokens":5,"service_tier":"standard"}}'
    )
    message, is_typed = read_message(body)
    assert is_typed
    assert message is not None
    assert (message.id, message.model, message.stop_reason) == ("msg_1", "claude-x", "tool_use")
    assert message.content == [Block("text", "hi"), Block("tool_use")]
    assert message.usage == MessageUsage(3, 2, None, 5)


def test_a_member_of_a_wrong_type_leaves_the_others() -> None:
    body = (
        b'{"id":7,"type":"message","content":"odd","stop_reason":"end_turn",'
        b'"usage":{"output_tokens":-1}}'
    )
    message, is_typed = read_message(body)
    assert not is_typed
    assert message is not None
    assert (message.id, message.content, message.usage) == (None, None, None)
    assert (message.type, message.stop_reason) == ("message", "end_turn")


@pytest.mark.parametrize("body", [b"", b"[]", b"5", b"<html>", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_nothing(body: bytes) -> None:
    assert read_message(body) == (None, False)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner:
       st.lists(inner, max_size=3) | st.dictionaries(
           st.sampled_from(["type", "message", "delta", "usage", "content", "error", "id"]),
           inner, max_size=5)))  # fmt: skip
def test_any_json_is_read_without_raising(value: object) -> None:
    message, _ = read_message(json.dumps(value).encode())
    assert (message is not None) == isinstance(value, dict)
