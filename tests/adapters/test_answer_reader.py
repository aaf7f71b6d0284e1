"""What all side-readers share, seen through a reader that only counts what it is given."""

import gzip

import pytest

from adapters.answer_reader import TEXT_CHARS_MAX, AnswerReader

EVENTS = b'event: one\ndata: {"n":1}\n\n: ping\n\ndata: {"n":2}\ndata: \n\n'


class Counting(AnswerReader):
    """Done with the second document."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[bytes] = []

    def _read(self, payload: bytes) -> bool:
        self.seen.append(payload)
        self._add_text("x")
        return payload.startswith(b"{")

    def _says_done(self) -> bool:
        return len(self.seen) >= 2


def test_each_events_data_is_read_and_comments_are_not() -> None:
    reader = Counting()
    reader.read_events(b": only a comment\n\n")
    assert not reader.has_data
    reader.read_events(EVENTS)
    assert reader.seen == [b'{"n":1}', b'{"n":2}\n']
    assert reader.has_data


def test_a_whole_answer_is_read_behind_a_byte_order_mark() -> None:
    reader = Counting()
    assert reader.read_whole(b'\xef\xbb\xbf{"n":1}')
    assert not reader.read_whole(b"<html>")
    assert reader.seen == [b'{"n":1}', b"<html>"]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_compressed_stream_is_read_on_the_side_and_done_with_its_coding(size: int) -> None:
    reader = Counting()
    assert reader.set_coding(b"gzip")
    coded = gzip.compress(EVENTS)
    for start in range(0, len(coded), size):
        assert not reader.has_done
        reader.read_events(coded[start : start + size])
    assert reader.has_done
    assert reader.seen == [b'{"n":1}', b'{"n":2}\n']


def test_a_coding_nobody_knows_is_the_clients_to_judge() -> None:
    reader = Counting()
    assert not reader.set_coding(b" Identity ")
    assert reader.set_coding(b"br")
    assert reader.read_whole(b"\x1b")
    assert reader.is_complete
    assert reader.is_unparsed
    assert reader.seen == []


def test_collected_text_is_bounded() -> None:
    reader = Counting()
    reader._add_text("y" * TEXT_CHARS_MAX)
    reader.read_payload(b"{}")
    assert reader.text == "y" * TEXT_CHARS_MAX
