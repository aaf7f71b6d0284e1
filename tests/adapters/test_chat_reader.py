"""The side-reader learns the same from an answer however it arrives, and never raises."""

import gzip
import json
import zlib
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.answer_reader import LOGPROBS_MAX, TEXT_CHARS_MAX
from adapters.chat_reader import ChatReader
from adapters.sse import EventBuffer
from pointsman.tokens import Usage

DONE = b"data: [DONE]\n\n"


def chunk(content: str | None = None, finish: str | None = None, **more: Any) -> bytes:
    """One event of a stream."""
    delta = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": delta, "finish_reason": finish} | more.pop("choice", {})
    value = {"id": "c1", "model": "m1", "choices": [choice]} | more
    return b"data: " + json.dumps(value).encode() + b"\n\n"


USAGE = chunk(
    choices=[],
    usage={
        "prompt_tokens": 7,
        "completion_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 5},
    },
)
STREAM = chunk("") + chunk("Cre") + chunk("we 🚂") + chunk(finish="stop") + USAGE + DONE


def read(pieces: list[bytes], *, choices: int = 1, coding: bytes | None = None) -> ChatReader:
    """As an attempt does it: whole events only, the rest at the end; coded bytes as they come."""
    reader, events = ChatReader(choices), EventBuffer()
    events.is_opaque = reader.set_coding(coding)
    for piece in pieces:
        if ready := events.feed(piece):
            reader.read_events(ready)
    reader.read_events(events.rest())
    return reader


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(place for place in cuts if place < len(data))})
    return [data[start:end] for start, end in pairwise(places)]


CUTS = st.lists(st.integers(0, len(STREAM)), max_size=40)


@given(CUTS, st.sampled_from([b"\n", b"\r\n", b"\r"]))
@example(list(range(len(STREAM))), b"\r\n")
def test_any_reads_give_the_same(cuts: list[int], line_end: bytes) -> None:
    reader = read(cut(STREAM.replace(b"\n", line_end), cuts))
    assert reader.text == "Crewe 🚂"
    assert reader.finish_reason == "stop"
    assert reader.usage == Usage(prompt=7, completion=9, reasoning=5, cached=2, cache_write=1)
    assert (reader.response_id, reader.model) == ("c1", "m1")
    assert reader.is_complete
    assert reader.has_done
    assert reader.has_answer
    assert not reader.is_unparsed
    assert reader.error is None


COMPACT = STREAM.replace(b'": ', b'":').replace(b", ", b",")


@pytest.mark.parametrize("choices", [1, 2])
@given(cuts=CUTS, stream=st.sampled_from([STREAM, COMPACT]))
def test_text_that_nobody_judges_may_be_skipped_and_nothing_else(
    choices: int, cuts: list[int], stream: bytes
) -> None:
    plain, skipping = read([stream], choices=choices), ChatReader(choices, keeps_text=False)
    events = EventBuffer()
    for piece in cut(stream, cuts):
        skipping.read_events(events.feed(piece))
    for name in ("usage", "finish_reason", "model", "response_id", "is_complete", "has_answer"):
        assert getattr(skipping, name) == getattr(plain, name)
    assert skipping.has_done
    if choices == 1 and stream is COMPACT:
        assert skipping.text is None


def test_an_error_is_seen_also_where_text_is_skipped() -> None:
    reader = ChatReader(keeps_text=False)
    error = b'data: {"choices":[{"finish_reason":null}],"usage":null,"error":{"code":500}}\n\n'
    reader.read_events(chunk("a") + error)
    assert reader.error is not None


@given(st.sampled_from([gzip.compress, zlib.compress]), CUTS)
def test_a_compressed_stream_reads_as_well(pack: Any, cuts: list[int]) -> None:
    coding = b"gzip" if pack is gzip.compress else b"deflate"
    reader = read(cut(pack(STREAM), cuts), coding=coding)
    assert (reader.text, reader.finish_reason) == ("Crewe 🚂", "stop")
    assert reader.usage.completion == 9
    assert reader.is_complete
    assert reader.has_done
    assert reader.is_unparsed  # the record holds coded bytes


def test_a_compressed_stream_is_done_when_its_coding_is() -> None:
    body = gzip.compress(STREAM)
    reader = ChatReader()
    assert reader.set_coding(b"gzip")
    reader.read_events(body[:-1])
    assert reader.is_complete
    assert not reader.has_done
    reader.read_events(body[-1:])
    assert reader.has_done


def test_a_stream_in_an_unknown_coding_is_the_clients_to_read() -> None:
    reader = read([b"\x00br\n\n", b"more"], coding=b"br")
    assert reader.is_complete
    assert reader.has_data
    assert reader.is_unparsed
    assert not reader.has_done


def test_a_broken_coding_is_no_complete_answer() -> None:
    reader = read([gzip.compress(STREAM)[:40], b"garbage" * 9], coding=b"gzip")
    assert not reader.is_complete
    assert reader.has_data


@pytest.mark.parametrize("coding", [None, b"identity", b"", b" Identity "])
def test_no_coding_is_read_plainly(coding: bytes | None) -> None:
    reader = ChatReader()
    assert not reader.set_coding(coding)
    reader.read_events(STREAM)
    assert reader.has_done
    assert not reader.is_unparsed


WHOLE = {
    "id": "c1",
    "model": "m1",
    "choices": [{"index": 0, "message": {"content": "Crewe"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 9},
}


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (json.dumps(WHOLE).encode(), None),
        (b"\xef\xbb\xbf" + json.dumps(WHOLE, indent=2).encode() + b"\n", None),
        (gzip.compress(json.dumps(WHOLE).encode(), mtime=0), b"gzip"),
        (zlib.compress(json.dumps(WHOLE).encode()), b"deflate"),
        (json.dumps(WHOLE | {"id": 5}).encode(), None),
    ],
)
def test_reads_a_whole_answer(body: bytes, coding: bytes | None) -> None:
    reader = ChatReader()
    reader.set_coding(coding)
    assert reader.read_whole(body)
    assert (reader.text, reader.finish_reason) == ("Crewe", "stop")
    assert reader.usage == Usage(prompt=7, completion=9)
    assert reader.is_complete


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (b"", None),
        (b"<html>", None),
        (b"[]", None),
        (gzip.compress(b"<html>", mtime=0), b"gzip"),
        (gzip.compress(b"{}", mtime=0)[:-2], None),
        (b"{}", b"gzip"),
        (b"", b"gzip"),
    ],
)
def test_says_what_is_no_answer(body: bytes, coding: bytes | None) -> None:
    reader = ChatReader()
    reader.set_coding(coding)
    assert not reader.read_whole(body)
    assert reader.is_unparsed
    assert not reader.is_complete


def test_a_whole_answer_in_an_unknown_coding_passes() -> None:
    reader = ChatReader()
    reader.set_coding(b"br")
    assert reader.read_whole(b"\x0b\x00br")
    assert reader.is_complete
    assert reader.is_unparsed


@pytest.mark.parametrize(
    ("stream", "is_complete"),
    [
        (chunk("a"), False),
        (chunk("a", "stop"), True),  # vLLM: in the last content chunk
        (chunk("a") + USAGE, False),
        (chunk("a", "length") + USAGE, True),
        (chunk("a") + DONE, True),
        (b": ping\n\n", False),
        (b"", False),
    ],
)
def test_completeness(stream: bytes, is_complete: bool) -> None:
    assert read([stream]).is_complete is is_complete


def test_every_choice_asked_for_must_end() -> None:
    first, second = chunk("a", "stop"), chunk("b", "length", choice={"index": 1})
    assert not read([first], choices=2).is_complete
    reader = read([second, first], choices=2)
    assert reader.is_complete
    assert reader.finish_reason == "stop"  # the first choice's, whichever ended first
    assert reader.text == "a"


def test_comments_are_no_data() -> None:
    assert not read([b": ping\n\n", b"event: x\nid: 1\n\n"]).has_data
    assert read([b"data:\n\n"]).has_data


def test_an_error_event_is_told_apart_from_an_answer() -> None:
    reader = read([b'data: {"error": {"code": 503, "message": "Loading"}}\n\n'])
    assert reader.error is not None
    assert json.loads(reader.error) == {"code": 503, "message": "Loading"}
    assert not reader.has_answer
    assert read([chunk("a", error=None)]).error is None


def test_done_behind_an_error_is_no_complete_answer() -> None:
    error = b'data: {"error": {"message": "out of memory"}}\n\n'
    reader = read([chunk("half") + error + DONE])
    assert reader.has_done
    assert not reader.is_complete


def test_tool_calls_and_logprobs_of_the_first_choice() -> None:
    logprobs = {"content": [{"token": "a", "logprob": -0.25, "top_logprobs": []}]}
    stream = (
        chunk("a", choice={"logprobs": logprobs})
        + chunk("b", choice={"logprobs": logprobs, "index": 1})
        + chunk(choice={"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}})
        + chunk(choice={"logprobs": None})
        + chunk(choice={"logprobs": {"content": None}})
    )
    reader = read([stream], choices=2)
    assert reader.token_logprobs == (-0.25,)
    assert reader.has_tool_calls
    assert read([chunk("a")]).token_logprobs is None
    assert not read([chunk("a")]).has_tool_calls


def test_half_an_emoji_in_a_chunk_does_not_lose_its_end() -> None:
    reader = read(
        [b'data: {"choices":[{"delta":{"content":"\\ud83d"},"finish_reason":"stop"}]}\n\n']
    )
    assert reader.is_complete
    assert reader.is_unparsed


def test_what_it_keeps_of_an_endless_answer_is_bounded() -> None:
    many = [{"logprob": -1.0}] * 50_000
    event = chunk("x" * 300_000, choice={"logprobs": {"content": many}})
    reader = read([event] * 8)
    assert reader.text is not None
    assert len(reader.text) < TEXT_CHARS_MAX + 300_000
    assert reader.token_logprobs is not None
    assert len(reader.token_logprobs) == LOGPROBS_MAX


WORDS = [b"data: ", b"{", b"}", b'"choices"', b":", b"[", b"]", b"\n\n", b"\xff", b"1", DONE]
GARBAGE = st.binary(max_size=60) | st.lists(st.sampled_from(WORDS)).map(b"".join)


@given(GARBAGE, st.sampled_from([None, b"gzip", b"deflate", b"br"]))
def test_garbage_never_raises(data: bytes, coding: bytes | None) -> None:
    reader = read([data[:7], data[7:]], coding=coding)
    whole = ChatReader()
    whole.set_coding(coding)
    whole.read_whole(data)
    for each in (reader, whole):
        assert each.text is None or each.has_answer
        assert isinstance(each.is_complete, bool)


def test_a_line_it_cannot_read_is_marked_and_the_others_are_read() -> None:
    reader = read([chunk("a"), b"data: {oops\n\n", chunk("b", "stop")])
    assert reader.is_unparsed
    assert (reader.text, reader.finish_reason) == ("ab", "stop")


def test_reads_legacy_completions_too() -> None:
    chunks = [
        {"text": "Once", "index": 0, "finish_reason": None,
         "logprobs": {"tokens": ["Once"], "token_logprobs": [None], "top_logprobs": None}},
        {"text": " more", "index": 0, "finish_reason": "length",
         "logprobs": {"tokens": [" more"], "token_logprobs": [-0.25]}},
    ]  # fmt: skip
    reader = ChatReader()
    for choice in chunks:
        data = json.dumps({"id": "cmpl-1", "object": "text_completion", "choices": [choice]})
        reader.read_events(f"data: {data}\n\n".encode())
    assert (reader.text, reader.finish_reason) == ("Once more", "length")
    assert reader.token_logprobs == (-0.25,)
    assert reader.is_complete
    assert not reader.is_unparsed
