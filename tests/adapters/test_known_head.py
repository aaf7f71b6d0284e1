"""Heads are known again by all their bytes, and by nothing less."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.known_head import cut, is_one_head

START = b"POST /v1/x HTTP/1.1\r\nHost: x"


@pytest.mark.parametrize("name", [b"Content-Length", b"content-length"])
@pytest.mark.parametrize("rest", [b"", b"\r\nAccept: a"])
def test_the_length_is_taken_out(name: bytes, rest: bytes) -> None:
    data = START + b"\r\n" + name + b": 12" + rest + b"\r\n\r\nbody"
    assert cut(data) == (START + rest, 12, len(data) - 4, len(START))
    assert cut(data, len(START)) == cut(data)
    assert cut(data, 3) == cut(data)


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
    guessed = cut(data, max(0, data.find(b"\r\nContent-Length")))
    assert guessed is None or not is_one_head(guessed[0])


def test_a_length_in_a_body_makes_no_head() -> None:
    head = START + b"\r\nContent-Length: 26"
    data = head + b"\r\n\r\n" + b"ab\r\nContent-Length: 1\r\n\r\nx"
    assert cut(data) == (START, 26, len(head) + 4, len(START))
    found = cut(data, data.rindex(b"\r\nContent"))
    assert found is not None
    assert not is_one_head(found[0])
    assert is_one_head(START)


@given(st.binary(max_size=80), st.integers(0, 100))
def test_half_a_head_is_never_cut(tail: bytes, at: int) -> None:
    data = START + b"\r\nContent-Length: 12\r\nA: " + tail.replace(b"\r\n", b"") + b"\r\n"
    assert cut(data[:at]) is None
