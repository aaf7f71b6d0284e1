"""The frames between keeper and workers."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.control import (
    FRAME_BYTES_MAX,
    ControlError,
    FromWorker,
    Hello,
    LearnedState,
    Question,
    Reload,
    ReloadDone,
    Report,
    encode,
    read_from_keeper,
    read_from_worker,
)

NAMES = st.text(max_size=20)
LABELS = st.lists(st.tuples(NAMES, NAMES), max_size=3).map(tuple)
MESSAGES = st.one_of(
    st.builds(Hello, st.integers(0, 99), st.integers(1, 1 << 22), st.integers(0, 1 << 40)),
    st.builds(
        Report,
        st.lists(st.tuples(NAMES, LABELS, st.floats(allow_nan=False)), max_size=5),
        st.binary(max_size=200),
    ),
    st.builds(ReloadDone, st.integers(0, 1 << 40), st.none() | NAMES),
    st.builds(
        Question,
        st.integers(0, 1 << 40),
        st.sampled_from(("decision", "response")),
        NAMES,
        st.none() | NAMES,
    ),
)


@given(st.lists(MESSAGES, max_size=5), st.integers(1, 50))
def test_messages_arrive_as_sent_however_they_are_cut(
    messages: list[FromWorker], piece: int
) -> None:
    async def converse() -> list[FromWorker]:
        reader = asyncio.StreamReader()
        data = b"".join(map(encode, messages))
        for start in range(0, len(data), piece):
            reader.feed_data(data[start : start + piece])
        reader.feed_eof()
        received = []
        while (message := await read_from_worker(reader)) is not None:
            received.append(message)
        return received

    assert asyncio.run(converse()) == messages


async def test_a_connection_that_ends_inside_a_frame_has_ended() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(encode(Reload(3))[:-1])
    reader.feed_eof()
    assert await read_from_keeper(reader) is None


@pytest.mark.parametrize(
    "data",
    [
        encode(LearnedState(b"x")),
        b"\x03\0\0\0\xff\xff\xff",
        (FRAME_BYTES_MAX + 1).to_bytes(4, "little") + b"x",
    ],
)
async def test_anything_else_is_refused(data: bytes) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    with pytest.raises(ControlError):
        await read_from_worker(reader)
