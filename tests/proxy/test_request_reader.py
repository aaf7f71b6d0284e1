"""Bytes in, requests out, however they are cut."""

from collections.abc import Sequence
from itertools import pairwise

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import framing
from proxy.framing import Refused
from proxy.heads import RequestHead
from proxy.request_reader import RequestReader
from tests.support.raw_client import get, post
from tests.support.scripted import LAST_CHUNK, chunk

CHUNKED = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


class Owner:
    """Remembers what it was told."""

    def __init__(self, *, keeps_body: bool = True, refuses: bool = False) -> None:
        self.keeps_body = keeps_body
        self.refuses = refuses
        self.heads: list[bytes] = []
        self.requests: list[tuple[bytes, bytes]] = []

    def head_read(self, head: RequestHead) -> bool:
        self.heads.append(head.path)
        if self.refuses:
            raise Refused(framing("no"))
        return self.keeps_body

    def request_read(self, head: RequestHead, body: bytes) -> None:
        self.requests.append((head.path, body))


def read(owner: Owner, pieces: Sequence[bytes], *, body_bytes_max: int = 1000) -> RequestReader:
    reader = RequestReader(owner)
    reader.body_bytes_max = body_bytes_max
    for piece in pieces:
        reader.feed(piece)
    return reader


SCRIPT = b"".join(
    (
        post(b"body", path="/a"),
        get("/b"),
        CHUNKED + chunk(b"one") + chunk(b"two") + b"0\r\nA: b\r\n\r\n",
        b"\r\n" + post(b"", path="/d"),
    )
)
REQUESTS = [(b"/a", b"body"), (b"/b", b""), (b"/c", b"onetwo"), (b"/d", b"")]


@given(st.lists(st.integers(0, len(SCRIPT)), max_size=12))
def test_cuts_change_nothing(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(SCRIPT)]
    pieces = [SCRIPT[a:b] for a, b in pairwise(edges)]
    owner = Owner()
    reader = read(owner, pieces)
    assert owner.requests == REQUESTS
    assert not reader.has_begun


@given(st.binary(max_size=400))
def test_nothing_but_its_own_errors_comes_out(data: bytes) -> None:
    for start in (b"", b"POST /a HTTP/1.1\r\nHost: x\r\n", CHUNKED):
        try:
            read(Owner(), [start + data])
        except (Refused, httptools.HttpParserError):
            continue


def test_tells_where_it_stands() -> None:
    owner = Owner()
    whole = post(b"body", path="/a")
    reader = read(owner, [whole[:3]])
    assert (reader.has_begun, reader.head) == (True, None)
    reader.feed(whole[3:-2])
    assert reader.head is not None
    assert (owner.heads, reader.body_bytes) == ([b"/a"], 2)
    reader.feed(whole[-2:])
    assert (reader.has_begun, reader.head, reader.body_bytes) == (False, None, 0)


def test_drops_a_body_that_nobody_wants() -> None:
    owner = Owner(keeps_body=False)
    reader = read(owner, [post(b"body", path="/a")[:-1]])
    assert reader._body == []
    reader.feed(b"y")
    assert owner.requests == [(b"/a", b"")]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (post(b"x" * 1001), 413),
        (CHUNKED + chunk(b"x" * 600) + chunk(b"x" * 600) + LAST_CHUNK, 413),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n", 431),
        (get("/", *["A: b"] * 101), 431),
        (get("/", "A: " + "b" * 70_000), 431),
        (get("//x"), 400),
    ],
)
def test_stops_at_what_is_too_much(data: bytes, status: int) -> None:
    with pytest.raises(Refused) as caught:
        read(Owner(), [data])
    assert caught.value.error.status == status


def test_its_owner_may_stop_it() -> None:
    owner = Owner(refuses=True)
    with pytest.raises(Refused):
        read(owner, [post(b"body")])
    assert owner.requests == []


def test_a_defect_of_its_owner_is_not_taken_for_the_clients() -> None:
    class Defect(Owner):
        def head_read(self, head: RequestHead) -> bool:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        read(Defect(), [post(b"body")])
