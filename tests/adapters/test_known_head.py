"""A head is known again by all its bytes, and by nothing less."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.known_head import known_head

START = b"POST /v1/x HTTP/1.1\r\nHost: x"


def message(length: bytes = b"4", body: bytes = b"body", rest: bytes = b"") -> bytes:
    return START + b"\r\nContent-Length: " + length + rest + b"\r\n\r\n" + body


@pytest.mark.parametrize("name", [b"Content-Length", b"content-length"])
@pytest.mark.parametrize("rest", [b"", b"\r\nAccept: a"])
def test_the_same_head_is_known_with_another_length(name: bytes, rest: bytes) -> None:
    first = message(rest=rest).replace(b"Content-Length", name)
    known = known_head(first)
    assert known is not None
    assert known.body_of(first) == b"body"
    other = message(b"11", b"another one", rest).replace(b"Content-Length", name)
    assert known.body_of(other) == b"another one"
    assert known.body_of(message(b"0", b"", rest).replace(b"Content-Length", name)) == b""


@pytest.mark.parametrize(
    "other",
    [
        b"",
        START,
        message(b"5"),
        message(b"3"),
        message(b"4x"),
        message(b""),
        message(b"+4"),
        message(b"\xb2"),
        message(b" 4"),
        message(b"0000000004"),
        message(rest=b"\r\nA: b"),
        message().replace(b"Host: x", b"Host: y"),
        message().replace(b"Content-Length", b"content-length"),
        message()[:-5],
        message() + b"x",
        message() + message(),
    ],
)
def test_anything_else_goes_to_the_parser(other: bytes) -> None:
    known = known_head(message())
    assert known is not None
    assert known.body_of(other) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        START,
        message()[: -len(b"\r\nbody")],
        START + b"\r\n\r\n\r\nContent-Length: 12\r\n\r\n",
        START + b"\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"\r\n\r\n" + message(),
        message(b"1 2"),
        message(b"1234567890"),
    ],
)
def test_only_a_whole_head_with_a_plain_length_can_be_known(data: bytes) -> None:
    assert known_head(data) is None


@given(st.binary(max_size=80), st.integers(0, 200))
def test_half_a_head_is_never_known(tail: bytes, at: int) -> None:
    data = START + b"\r\nContent-Length: 12\r\nA: " + tail.replace(b"\r\n", b"") + b"\r\n"
    assert known_head(data[:at]) is None


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_what_is_known_is_one_message(first: bytes, second: bytes) -> None:
    known = known_head(message(b"%d" % len(first), first))
    assert known is not None
    assert known.body_of(message(b"%d" % len(second), second)) == second
    assert known.body_of(first + second) is None or first.startswith(START)
