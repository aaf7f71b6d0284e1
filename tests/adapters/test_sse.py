"""Events are cut at blank lines however lines end and reads fall; no byte is lost or changed."""

import re
from itertools import accumulate, pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.sse import (
    HELD_BYTES_MAX,
    EventBuffer,
    event_data,
    last_border,
    only_data,
    split_events,
)

PIECES = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\n\n",
    b"\r\n\r\n",
    b"\r\r",
    b"data: x",
    b"data:",
    b":",
    b"\xef\xbb\xbf",
    b"a",
]
STREAMS = st.lists(st.sampled_from(PIECES), max_size=24).map(b"".join) | st.binary(max_size=80)
CUTS = st.lists(st.integers(0, 120), max_size=30)


def reads(stream: bytes, cuts: list[int]) -> list[bytes]:
    """The stream as it may arrive."""
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    return [stream[start:end] for start, end in pairwise(places)]


def fed(buffer: EventBuffer, pieces: list[bytes]) -> list[bytes]:
    return [buffer.feed(piece) for piece in pieces]


def datas(stream: bytes) -> list[bytes]:
    """The data of all events, read the way the specification tells: line by line."""
    events: list[bytes] = []
    data: list[bytes] = []
    for line in re.split(rb"\r\n|\n|\r", stream.removeprefix(b"\xef\xbb\xbf")):
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif not line and data:
            events.append(b"\n".join(data))
            data = []
    return events


def borders(stream: bytes) -> list[int]:
    """Where events may end: behind each empty line, found line by line."""
    found = []
    line_start = 0
    for match in re.finditer(rb"\r\n|\n|\r", stream):
        is_half = match.end() == len(stream) and match[0] == b"\r"
        if match.start() == line_start > 0 and not (is_half and stream[-2:] != b"\r\r"):
            found.append(match.end())
        line_start = match.end()
    return found


@given(STREAMS, CUTS)
@example(b"data: x\r\n\r\ndata: y\r\n\r\n", list(range(120)))
def test_what_passes_and_the_rest_are_the_stream(stream: bytes, cuts: list[int]) -> None:
    buffer = EventBuffer()
    assert b"".join([*fed(buffer, reads(stream, cuts)), buffer.rest()]) == stream
    assert buffer.rest() == b""


@given(STREAMS, CUTS)
@example(b"data: x\r\n\r\ndata: y\r\n\r\n", list(range(120)))
def test_the_same_events_pass_however_the_reads_fall(stream: bytes, cuts: list[int]) -> None:
    whole, cut = EventBuffer(), EventBuffer()
    at_once = whole.feed(stream)
    in_pieces = b"".join(fed(cut, reads(stream, cuts)))
    # Of several blank lines, the last may pass with the next event.
    assert at_once.rstrip(b"\r\n") == in_pieces.rstrip(b"\r\n")


@given(STREAMS)
def test_the_last_border_is_behind_the_last_empty_line(stream: bytes) -> None:
    assert last_border(stream) == max(borders(stream), default=0)


@given(STREAMS, CUTS)
def test_never_passes_half_an_event(stream: bytes, cuts: list[int]) -> None:
    buffer = EventBuffer()
    passed = 0
    for piece in reads(stream, cuts):
        passed += len(buffer.feed(piece))
        assert (
            passed == 0
            or passed in borders(stream + b":")
            or stream[passed - 2 : passed] == b"\r\r"
        )


@given(STREAMS)
def test_split_events_join_to_the_stream_and_hold_its_data(stream: bytes) -> None:
    events = list(split_events(stream))
    assert b"".join(events) == stream
    assert all(events)
    assert set(accumulate(map(len, events[:-1]))) <= set(borders(stream))
    whole = stream[: last_border(stream)]
    found = [data for event in split_events(whole) if (data := event_data(event)) is not None]
    if b"\xef\xbb\xbf" not in stream[1:]:
        assert found == datas(whole)


@pytest.mark.parametrize(
    ("stream", "border"),
    [
        (b"", 0),
        (b"data: x\n", 0),
        (b"data: x\n\n", 9),
        (b"data: x\n\ndata: y\n", 9),
        (b"data: x\r\n", 0),
        (b"data: x\r\n\r", 0),  # an LF may follow
        (b"data: x\r\n\r\n", 11),
        (b"data: x\r\n\rdata: y", 10),
        (b"data: x\r\r", 9),
        (b"data: x\r\r\ndata: y", 10),
        (b"data: x\n\r\n", 10),
        (b"data: x\n\r", 0),
        (b"data: x\n\r:", 9),
        (b"data: x\r\n\n", 10),
        (b"data: x\ry\rz\r\n", 0),
        (b"\n\n\n", 3),
        (b"data: x\n\n\r", 9),
        (b"\r\n\r\n\r\n", 6),
    ],
)
def test_borders(stream: bytes, border: int) -> None:
    assert last_border(stream) == border


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: x\n\n", b"x"),
        (b"data:x\n\n", b"x"),
        (b"data:  x\n\n", b" x"),
        (b"data: [DONE]\r\n\n", b"[DONE]"),
        (b"data: x\r\r", b"x"),
        (b"data: a\rdata: b\n\n", b"a\nb"),
        (b"data: a\ndata: b\n\n", b"a\nb"),
        (b"event: e\nid: 1\ndata: x\n\n", b"x"),
        (b"data: x\nevent: e\n\n", b"x"),
        (b"\xef\xbb\xbfdata: x\n\n", b"x"),
        (b"data: half\nd", b"half"),
        (b"data:\n\n", b""),
        (b": ping\n\n", None),
        (b"\n", None),
        (b"", None),
        (b"database: x\n\n", None),
    ],
)
def test_data_of_an_event(event: bytes, data: bytes | None) -> None:
    assert event_data(event) == data


@pytest.mark.parametrize(
    "data",
    [b"", b"\n\n", b"data: x\n", b"data: x\n\ndata: y\n\n", b"data: x\n\n\n", b"data: x\ry\n\n"],
)
def test_more_or_less_than_one_plain_event_is_not_only_data(data: bytes) -> None:
    assert only_data(data) is None
    assert only_data(b"data: x\n\n") == b"x"


def test_a_crlf_cut_in_two_is_passed_on_whole() -> None:
    buffer = EventBuffer()
    assert buffer.feed(b"data: [DONE]\r\n\r") == b""
    assert buffer.feed(b"\n") == b"data: [DONE]\r\n\r\n"


def test_cr_alone_does_not_lag_behind() -> None:
    assert EventBuffer().feed(b"data: x\r\r") == b"data: x\r\r"


def test_an_event_without_an_end_is_held_up_to_a_limit_then_passed_raw() -> None:
    buffer = EventBuffer()
    start = b"data: " + b"x" * (HELD_BYTES_MAX - 6)
    assert buffer.feed(start) == b""
    assert not buffer.is_overlong
    assert buffer.feed(b"y") == start + b"y"
    assert buffer.is_overlong
    assert buffer.feed(b"z\n\ndata: n") == b"z\n\n"
    assert buffer.rest() == b"data: n"


def test_a_huge_read_passes_at_once() -> None:
    buffer = EventBuffer()
    stream = b"data: 1\n\n" + b"x" * (HELD_BYTES_MAX + 1)
    assert buffer.feed(stream) == stream
    assert buffer.is_overlong


def test_a_long_event_read_byte_by_byte_passes_whole() -> None:
    buffer = EventBuffer()
    event = b"data: " + b"x" * 60_000 + b"\n\n"
    assert b"".join(buffer.feed(event[i : i + 1]) for i in range(len(event))) == event
    assert buffer.rest() == b""


def test_an_opaque_stream_is_never_held() -> None:
    buffer = EventBuffer()
    buffer.is_opaque = True
    assert fed(buffer, [b"\x1f\x8b half", b" more\n\nx"]) == [b"\x1f\x8b half", b" more\n\nx"]
    assert buffer.rest() == b""


def test_knows_whether_another_event_may_stand_behind_what_was_passed() -> None:
    buffer = EventBuffer()
    assert buffer.is_between_events
    assert buffer.feed(b"data: a\n\ndata: b") == b"data: a\n\n"
    assert buffer.is_between_events  # the half is held
    assert buffer.feed(b"x" * HELD_BYTES_MAX).startswith(b"data: b")
    assert not buffer.is_between_events
    assert buffer.feed(b"y") == b""
    assert not buffer.is_between_events
    buffer.feed(b"\n\n")
    assert buffer.is_between_events
    assert buffer.feed(b"data: " + b"z" * HELD_BYTES_MAX).startswith(b"data: z")
    assert not buffer.is_between_events
    buffer.feed(b"\n\n")
    assert buffer.is_between_events
    buffer.is_opaque = True
    assert not buffer.is_between_events
