"""Heads are known again by all their bytes, and by nothing less."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.heads import Header, RequestHead
from proxy.known_heads import KNOWN_HEADS_MAX, cut, remember

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


def head(*headers: Header, **named: bool) -> RequestHead:
    options = {"is_http_10": False, "keeps_alive": True, **named}
    return RequestHead(b"POST", b"/", list(headers), **options)


@pytest.mark.parametrize(
    "other",
    [
        head((b"connection", b"x-a")),
        head((b"expect", b"100-continue")),
        head((b"upgrade", b"h2c")),
        head((b"transfer-encoding", b"chunked")),
        head(is_http_10=True),
        head(keeps_alive=False),
    ],
)
def test_what_concerns_one_connection_is_not_remembered(other: RequestHead) -> None:
    known: dict[bytes, RequestHead] = {}
    remember(known, b"key", other)
    assert known == {}


def test_only_so_many_are_remembered() -> None:
    known: dict[bytes, RequestHead] = {}
    for number in range(3 * KNOWN_HEADS_MAX):
        remember(known, b"%d" % number, head((b"a", b"b")))
        assert len(known) <= KNOWN_HEADS_MAX
    assert b"%d" % (3 * KNOWN_HEADS_MAX - 1) in known
