"""Heads are known again by all their bytes, and by nothing less."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.known_head import cut

START = b"POST /v1/x HTTP/1.1\r\nHost: x"


@pytest.mark.parametrize("name", [b"Content-Length", b"content-length"])
@pytest.mark.parametrize("rest", [b"", b"\r\nAccept: a"])
def test_the_length_is_taken_out(name: bytes, rest: bytes) -> None:
    data = START + b"\r\n" + name + b": 12" + rest + b"\r\n\r\nbody"
    assert cut(data) == (START + rest, 12, len(data) - 4)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        START,
        START + b"\r\nContent-Length: 12",
        START + b"\r\nContent-Length: 12\r",
        START + b"\r\nContent-Length: 12\r\n",
        START + b"\r\nContent-Length: 12\r\nA: b",
        START + b"\r\n\r\nContent-Length: 12\r\n\r\n",
        START + b"\r\nContent-Length: +12\r\n\r\n",
        START + b"\r\nContent-Length: 1 2\r\n\r\n",
        START + b"\r\nContent-Length:  12\r\n\r\n",
        START + b"\r\nContent-Length: \r\n\r\n",
        START + b"\r\nContent-Length: \xb2\r\n\r\n",
        START + b"\r\nContent-Length: 1234567890\r\n\r\n",
        START + b"\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"\r\n\r\n" + START + b"\r\nContent-Length: 12\r\n\r\n",
    ],
)
def test_anything_else_goes_to_the_parser(data: bytes) -> None:
    assert cut(data) is None


@given(st.binary(max_size=80), st.integers(0, 100))
def test_half_a_head_is_never_cut(tail: bytes, at: int) -> None:
    data = START + b"\r\nContent-Length: 12\r\nA: " + tail.replace(b"\r\n", b"") + b"\r\n"
    assert cut(data[:at]) is None
