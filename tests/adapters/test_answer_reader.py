"""What all side-readers share, seen through two of them: one with a `[DONE]`, one without."""

import gzip
import json

import pytest

from adapters.answer_reader import EVENT_BYTES_MAX, TEXT_CHARS_MAX, AnswerReader, usage_in
from adapters.chat_reader import ChatReader
from adapters.responses_reader import ResponsesReader


def chunk(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"event: one\ndata: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


EVENTS = chunk("a") + b": ping\n\n" + chunk("b", "stop") + b"data: [DONE]\n\n"


def test_each_events_data_is_read_and_comments_are_not() -> None:
    reader = ChatReader()
    reader.read_events(b": only a comment\n\n")
    assert not reader.has_data
    reader.read_events(EVENTS)
    assert reader.has_data
    assert reader.text == "ab"


@pytest.mark.parametrize("reader", [ChatReader(), ResponsesReader()])
def test_a_whole_answer_is_read_behind_a_byte_order_mark(reader: AnswerReader) -> None:
    assert reader.read_whole(b'\xef\xbb\xbf{"id":"x"}')
    assert reader.response_id == "x"
    assert not reader.read_whole(b"<html>")


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_compressed_stream_is_read_on_the_side_and_done_with_its_coding(size: int) -> None:
    reader = ChatReader()
    assert reader.set_coding(b"gzip")
    coded = gzip.compress(EVENTS)
    for start in range(0, len(coded), size):
        assert not reader.has_done
        reader.read_events(coded[start : start + size])
    assert reader.has_done
    assert reader.text == "ab"


@pytest.mark.parametrize("reader", [ChatReader(), ResponsesReader()])
def test_a_coding_nobody_knows_is_the_clients_to_judge(reader: AnswerReader) -> None:
    assert not reader.set_coding(b" Identity ")
    assert reader.set_coding(b"br")
    assert reader.read_whole(b"\x1b")
    assert reader.is_complete
    assert reader.is_unparsed
    assert reader.text is None


def test_collected_text_is_bounded() -> None:
    reader = ChatReader()
    reader.read_events(chunk("y" * TEXT_CHARS_MAX) + chunk("more"))
    assert reader.text == "y" * TEXT_CHARS_MAX


def test_an_event_that_comes_in_pieces_is_put_together() -> None:
    reader = ChatReader()
    whole = chunk("y" * 1000, "stop")
    for at in range(0, len(whole) - 100, 100):
        reader.read_piece(whole[at : at + 100])
    assert reader.has_data
    assert not reader.is_complete
    reader.read_events(whole[len(whole) // 100 * 100 :] + b"data: [DONE]\n\n")
    assert reader.is_complete
    assert reader.has_done
    assert reader.text == "y" * 1000
    assert not reader.is_unparsed


def test_an_event_that_is_endless_is_passed_over_and_what_follows_is_read() -> None:
    reader = ChatReader()
    for _ in range(5):
        reader.read_piece(b"data: " + b"y" * (EVENT_BYTES_MAX // 4))
    reader.read_events(b"y\n\n" + chunk("z", "stop"))
    assert reader.is_unparsed
    assert (reader.text, reader.is_complete) == ("z", True)


@pytest.mark.parametrize(
    ("tail", "usage"),
    [
        (b'x"}],"usage":{"a":{"b":1}},"user":null}', b'{"a": {"b": 1}}'),
        (b'{"usage":{"a":1},"usage" : {"a":2}}', b'{"a": 2}'),
        (b'"usage":null}', None),
        (b'"usage":{"a":', None),
        (b"", None),
    ],
)
def test_the_usage_is_found_in_the_end_of_an_answer(tail: bytes, usage: bytes | None) -> None:
    assert usage_in(tail) == usage
