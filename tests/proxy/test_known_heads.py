"""Which heads of requests are remembered, and how many."""

import pytest

from proxy.heads import Header, RequestHead
from proxy.known_heads import KNOWN_HEADS_MAX, remember


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


def test_a_key_with_some_of_a_body_in_it_is_not_remembered() -> None:
    known: dict[bytes, RequestHead] = {}
    remember(known, b"POST / HTTP/1.1\r\n\r\nbody", head((b"a", b"b")))
    remember(known, b"POST / HTTP/1.1\r\n", head((b"a", b"b")))
    assert known == {}
