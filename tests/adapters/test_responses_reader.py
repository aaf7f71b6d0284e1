"""Responses, whole and streamed: what is read of them and when they are complete."""

import gzip
import json
from typing import Any

import pytest

from adapters.responses_reader import ResponsesReader
from pointsman.tokens import Usage

USAGE = {
    "input_tokens": 30,
    "input_tokens_details": {"cached_tokens": 10},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 50,
}
MESSAGE = {
    "type": "message",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "hello", "logprobs": [{"logprob": -0.5}]}],
}
WHOLE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "model": "m-1",
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "output": [{"type": "reasoning", "summary": []}, MESSAGE],
    "usage": USAGE,
}


def event(kind: str, number: int, **members: object) -> bytes:
    data = json.dumps({"type": kind, "sequence_number": number, **members})
    return f"event: {kind}\ndata: {data}\n\n".encode()


BEGUN = event("response.created", 0, response=WHOLE | {"status": "in_progress", "output": [],
                                                      "usage": None})  # fmt: skip
DELTA = event("response.output_text.delta", 1, delta="hel", obfuscation="xx")
ENDED = event("response.completed", 2, response=WHOLE)


def read(*events: bytes) -> ResponsesReader:
    reader = ResponsesReader()
    for one in events:
        reader.read_events(one)
    return reader


def test_reads_a_whole_response() -> None:
    reader = ResponsesReader()
    assert reader.read_whole(json.dumps(WHOLE).encode())
    assert reader.usage == Usage(prompt=30, completion=20, reasoning=5, cached=10)
    assert (reader.response_id, reader.model, reader.finish_reason) == ("resp_1", "m-1", "stop")
    assert (reader.text, reader.token_logprobs) == ("hello", (-0.5,))
    assert reader.has_answer
    assert reader.error is None


def test_a_stream_is_complete_with_its_last_event() -> None:
    reader = read(BEGUN, DELTA)
    assert (reader.response_id, reader.finish_reason) == ("resp_1", None)
    assert not reader.is_complete
    assert not reader.has_done
    reader.read_events(ENDED)
    assert reader.is_complete
    assert reader.has_done
    assert (reader.text, reader.finish_reason) == ("hello", "stop")
    assert reader.usage.reasoning == 5


@pytest.mark.parametrize(
    ("changed", "finish"),
    [
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
         "content_filter"),
        ({"status": "incomplete", "incomplete_details": {"reason": "other"}}, "other"),
        ({"status": "failed", "error": {"code": "server_error", "message": "x"}}, "failed"),
        ({"output": [{"type": "function_call", "name": "look_up"}]}, "tool_calls"),
        ({"output": [{"type": "web_search_call"}, MESSAGE]}, "stop"),
        ({"status": "queued"}, "queued"),
    ],
)  # fmt: skip
def test_how_it_ended_is_told_in_the_words_of_chat(changed: dict[str, Any], finish: str) -> None:
    reader = ResponsesReader()
    assert reader.read_whole(json.dumps(WHOLE | changed).encode())
    assert reader.finish_reason == finish
    assert reader.error is None
    assert reader.has_tool_calls == (finish == "tool_calls")


@pytest.mark.parametrize("kind", ["response.incomplete", "response.failed"])
def test_other_last_events_end_a_stream_too(kind: str) -> None:
    assert read(BEGUN, event(kind, 1, response=WHOLE | {"status": kind[9:]})).is_complete


def test_done_ends_nothing_here() -> None:
    assert not read(BEGUN, b"data: [DONE]\n\n").is_complete


def test_an_error_event_carries_its_members_or_an_error() -> None:
    told = read(event("error", 0, code="x", message="no", param=None)).error
    assert told is not None
    assert json.loads(told) == {
        "message": "no",
        "type": "server_error",
        "param": None,
        "code": "x",
    }
    assert read(event("error", 0, error={"message": "no"})).error == b'{"message": "no"}'
    assert read(b'data: {"error":{"message":"no"}}\n\n').error == b'{"message":"no"}'
    reader = ResponsesReader()
    assert reader.read_whole(b'{"error":{"message":"no"}}')
    assert (reader.error, reader.has_answer) == (b'{"message":"no"}', False)


def test_the_next_events_number_follows_the_last_one() -> None:
    assert ResponsesReader().next_sequence_number == 0
    assert read(BEGUN, DELTA).next_sequence_number == 2


def test_a_compressed_stream_is_done_with_its_coding() -> None:
    reader = ResponsesReader()
    assert reader.set_coding(b"gzip")
    coded = gzip.compress(BEGUN + DELTA + ENDED)
    reader.read_events(coded[:-1])
    assert not reader.has_done
    reader.read_events(coded[-1:])
    assert reader.has_done
    assert reader.text == "hello"


def test_what_is_odd_is_marked_and_never_raises() -> None:
    reader = read(b"data: nonsense\n\n", b'data: {"type":5,"response":{"id":"r","output":5}}\n\n')
    assert reader.is_unparsed
    assert reader.response_id == "r"
    assert not ResponsesReader().read_whole(b"[]")
