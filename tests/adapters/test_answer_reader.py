"""What all side-readers share, seen through two of them: one with a `[DONE]`, one without."""

import gzip
import json

import pytest

from adapters.answer_reader import TEXT_CHARS_MAX, AnswerReader
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
