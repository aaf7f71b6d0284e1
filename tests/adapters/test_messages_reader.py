"""The side-readers of Anthropic's Messages API, fed with streams as the API really sends them."""

import gzip
import json

import pytest

from adapters.messages_reader import MessagesReader, TokenCountReader
from pointsman.tokens import Usage


def event(type: str, **members: object) -> bytes:
    data = json.dumps({"type": type, **members}, separators=(",", ":"))
    return f"event: {type}\ndata: {data}\n\n".encode()


START = event(
    "message_start",
    message={
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [],
        "stop_reason": None,
        "usage": {
            "input_tokens": 10,
            "cache_creation_input_tokens": 100,
            "cache_read_input_tokens": 1000,
            "output_tokens": 1,
        },
    },
)
PING = event("ping")
TEXT = (
    event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    + event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hel"})
    + event("content_block_delta", index=0, delta={"type": "text_delta", "text": "lo"})
    + event("content_block_stop", index=0)
)
END = event(
    "message_delta",
    delta={"stop_reason": "end_turn", "stop_sequence": None},
    usage={"output_tokens": 7},
)
STOP = event("message_stop")
STREAM = START + PING + TEXT + END + STOP
USAGE = Usage(prompt=1110, completion=7, cached=1000, cache_write=100)


def read(data: bytes, *, keeps_text: bool = True) -> MessagesReader:
    reader = MessagesReader(1, keeps_text)
    reader.read_events(data)
    return reader


@pytest.mark.parametrize("keeps_text", [True, False])
def test_a_stream_says_who_answered_what_it_cost_and_how_it_ended(keeps_text: bool) -> None:
    reader = read(STREAM, keeps_text=keeps_text)
    assert (reader.response_id, reader.model) == ("msg_1", "claude-x")
    assert reader.usage == USAGE
    assert reader.finish_reason == "stop"
    assert reader.text == ("Hello" if keeps_text else None)
    assert (reader.is_complete, reader.has_done, reader.has_answer) == (True, True, True)
    assert not reader.is_unparsed


def test_a_stream_without_message_stop_is_cut() -> None:
    reader = read(START + TEXT + END)
    assert not reader.is_complete
    assert not reader.has_done
    assert reader.usage == USAGE


def test_a_ping_is_nothing_to_show_a_client() -> None:
    reader = read(PING + b": keep-alive\n\n")
    assert not reader.has_data
    assert not reader.has_answer


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause_turn"),
    ],
)
def test_endings_are_told_in_the_words_of_chat_completions(told: str, reason: str) -> None:
    reader = MessagesReader()
    body = {"type": "message", "id": "m", "content": [], "stop_reason": told}
    assert reader.read_whole(json.dumps(body).encode())
    assert reader.finish_reason == reason


def test_a_whole_message_is_read() -> None:
    reader = MessagesReader()
    content = [{"type": "text", "text": "a"}, {"type": "tool_use", "name": "f", "input": {}}]
    usage = {"input_tokens": 3, "output_tokens": 5}
    body = {"type": "message", "id": "msg_2", "model": "m", "content": content, "usage": usage}
    assert reader.read_whole(json.dumps(body).encode())
    assert (reader.text, reader.has_tool_calls) == ("a", True)
    assert reader.usage == Usage(prompt=3, completion=5)
    assert reader.has_answer


def test_a_tool_call_in_a_stream_is_seen() -> None:
    block = event("content_block_start", index=0, content_block={"type": "tool_use", "name": "f"})
    delta = event("content_block_delta", index=0, delta={"type": "input_json_delta"})
    assert read(START + block + delta).has_tool_calls


def test_an_error_event_is_an_error_before_and_after_an_answer() -> None:
    error = event("error", error={"type": "overloaded_error", "message": "Overloaded"})
    first = read(error)
    assert first.error == b'{"type":"overloaded_error","message":"Overloaded"}'
    assert (first.has_data, first.has_answer) == (True, False)
    later = read(START + TEXT + error)
    assert later.error is not None
    assert later.has_answer
    assert not later.is_complete


def test_a_compressed_stream_is_read_on_the_side() -> None:
    reader = MessagesReader()
    assert reader.set_coding(b"gzip")
    coded = gzip.compress(STREAM)
    for start in range(0, len(coded), 11):
        reader.read_events(coded[start : start + 11])
    assert reader.has_done
    assert reader.usage == USAGE


def test_what_cannot_be_read_is_marked_and_never_raises() -> None:
    reader = MessagesReader()
    reader.read_events(b"data: {nonsense\n\n")
    assert reader.is_unparsed
    assert not reader.read_whole(b"<html>")


def test_a_count_of_tokens_is_an_answer_that_costs_nothing() -> None:
    reader = TokenCountReader()
    assert reader.read_whole(b'{"input_tokens":14}')
    assert reader.has_answer
    assert reader.usage == Usage(prompt=0, completion=0)
    failed = TokenCountReader()
    assert failed.read_whole(b'{"type":"error","error":{"type":"api_error","message":"m"}}')
    assert not failed.has_answer
    assert failed.error is not None
    assert not TokenCountReader().read_whole(b"[]")
