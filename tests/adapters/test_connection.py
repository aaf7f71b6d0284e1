"""One upstream connection against a real peer that keeps, bends and breaks the rules."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from adapters.connection import (
    HEAD_BYTES_MAX,
    HEADERS_MAX,
    INFORMATIONAL_MAX,
    UNSEEN_BYTES_MAX,
    ResponseHead,
    UpstreamConnection,
)
from adapters.read_buffer import READ_BYTES
from tests.support.heard import Heard, in_thread, on_uvloop
from tests.support.scripted import (
    LAST_CHUNK,
    ScriptedUpstream,
    Step,
    chunk,
    chunked_head,
    drip,
    fin,
    repeat,
    request,
    reset,
    response,
    until_closed,
)

ASK = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"
OK = b"HTTP/1.1 200 OK\r\n"


class Opened:
    """A connection, and how often it said that it is idle."""

    def __init__(self) -> None:
        self.idle = 0
        self.connection = UpstreamConnection(self._on_idle)

    def _on_idle(self, connection: UpstreamConnection) -> None:
        assert connection is self.connection
        self.idle += 1

    def ask(self) -> Heard:
        heard = Heard()
        self.connection.send(ASK, heard)
        return heard


@asynccontextmanager
async def opened_to(upstream: ScriptedUpstream) -> AsyncIterator[Opened]:
    opened = Opened()
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: opened.connection, "127.0.0.1", upstream.port)
    try:
        yield opened
    finally:
        opened.connection.abort()


async def answer_to(*script: Step) -> tuple[Heard, int]:
    """What is heard of one request, and how often the connection became idle."""
    with ScriptedUpstream([request, *script]) as upstream:
        async with opened_to(upstream) as opened:
            return await opened.ask().end(), opened.idle


# -- heads seen before ----------------------------------------------------------------------


@on_uvloop
async def test_a_head_seen_before_serves_the_next_answer() -> None:
    script = [request, response(b'{"a":1}'), request, response(b'{"b":22}')]
    with ScriptedUpstream(script) as upstream:
        async with opened_to(upstream) as opened:
            first = await opened.ask().end()
            second = await opened.ask().end()
    assert (first.body, second.body) == (b'{"a":1}', b'{"b":22}')
    assert second.is_whole
    assert second.head is first.head
    assert opened.idle == 2


NEVER_KNOWN: list[list[Step]] = [
    [OK + b"x-request-id: req_1\r\ncontent-length: 1\r\n\r\na"],
    [drip(OK + b"content-length: 1\r\n\r\na")],
    [b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"content-length: 1\r\n\r\na"],
    [b"HTTP/1.1 503 Busy\r\ncontent-length: 1\r\n\r\na"],
    [chunked_head(), chunk(b"a"), LAST_CHUNK],
]


@pytest.mark.parametrize("script", NEVER_KNOWN)
@on_uvloop
async def test_what_may_differ_next_time_is_read_anew(script: list[Step]) -> None:
    with ScriptedUpstream([request, *script, request, *script]) as upstream:
        async with opened_to(upstream) as opened:
            first = await opened.ask().end()
            second = await opened.ask().end()
    assert first.is_whole
    assert second.is_whole
    assert first.head is not second.head


@pytest.mark.parametrize("sent", [b"ab", b"a", b""])
@on_uvloop
async def test_a_known_head_with_another_body_than_it_says_goes_to_the_parser(sent: bytes) -> None:
    head = OK + b"content-length: 1\r\n\r\n"
    with ScriptedUpstream([request, head + b"a", request, head + sent, fin]) as upstream:
        async with opened_to(upstream) as opened:
            await opened.ask().end()
            heard = await opened.ask().end()
    assert heard.body == sent[:1]
    assert heard.is_whole is bool(sent)
    assert opened.idle == 1 + (sent == b"a")


# -- good answers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [
        [response(b'{"a":1}')],
        [drip(response(b'{"a":1}'))],
        [chunked_head(), chunk(b'{"a"'), chunk(b":1}"), LAST_CHUNK],
        [drip(chunked_head() + chunk(b'{"a"') + chunk(b":1}") + LAST_CHUNK)],
        [OK + b"TRANSFER-ENCODING: Chunked\r\n\r\n7;ext=1\r\n" + b'{"a":1}' + b"\r\n0\r\n\r\n"],
    ],
)
@on_uvloop
async def test_a_framed_answer_is_whole_and_leaves_the_connection_idle(script: list[Step]) -> None:
    heard, idle = await answer_to(*script)
    assert (heard.status, heard.body, heard.is_whole) == (200, b'{"a":1}', True)
    assert heard.head is not None
    assert heard.head.is_framed
    assert idle == 1


@pytest.mark.parametrize(
    ("head", "framed"),
    [
        (OK + b"connection: close\r\ncontent-length: 3\r\n\r\n", True),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\n", True),
        (b"HTTP/1.0 200 OK\r\n\r\n", False),
        (OK + b"content-type: text/plain\r\n\r\n", False),
    ],
)
@on_uvloop
async def test_an_answer_that_ends_its_connection_is_whole_but_not_reused(
    head: bytes, framed: bool
) -> None:
    heard, idle = await answer_to(head + b"abc", fin)
    assert (heard.body, heard.is_whole) == (b"abc", True)
    assert heard.head is not None
    assert heard.head.is_framed is framed
    assert idle == 0


@on_uvloop
async def test_an_answer_without_a_body_ends() -> None:
    heard, idle = await answer_to(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (heard.status, heard.body, heard.is_whole, idle) == (204, b"", True, 1)


@on_uvloop
async def test_header_names_are_lower_case_and_the_first_value_counts() -> None:
    heard, _ = await answer_to(response(b"", "X-Odd: a", "x-ODD: b", "Content-Encoding: gzip"))
    assert heard.head is not None
    assert heard.head.header(b"x-odd") == b"a"
    assert heard.head.header(b"absent") is None
    assert heard.head.coding == b"gzip"
    assert (b"x-odd", b"b") in heard.head.headers


@on_uvloop
async def test_stacked_codings_are_told_together() -> None:
    heard, _ = await answer_to(response(b"", "content-encoding: gzip", "content-encoding: br"))
    assert heard.head is not None
    assert heard.head.coding == b"gzip, br"


@on_uvloop
async def test_requests_follow_one_another_on_one_connection() -> None:
    with ScriptedUpstream([request, response(b"1"), request, response(b"2")]) as upstream:
        async with opened_to(upstream) as opened:
            assert (await opened.ask().end()).body == b"1"
            assert (await opened.ask().end()).body == b"2"
            assert opened.connection.uses == 2
        assert upstream.requests == [ASK, ASK]


@on_uvloop
async def test_it_is_idle_before_the_end_is_heard() -> None:
    with ScriptedUpstream([request, response(b"1"), request, response(b"2")]) as upstream:
        async with opened_to(upstream) as opened:
            second = Heard()

            def ask_again(data: bytes) -> None:
                assert opened.idle == 1
                opened.connection.send(ASK, second)

            opened.connection.send(ASK, Heard(ask_again))
            assert (await second.end()).body == b"2"


@on_uvloop
async def test_interim_answers_are_skipped() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    heard, idle = await answer_to(interim * (INFORMATIONAL_MAX // 2) + response(b"ok"))
    assert (heard.status, heard.body, idle) == (200, b"ok", 1)
    assert heard.head is not None
    assert heard.head.header(b"link") is None


@on_uvloop
async def test_trailers_are_dropped() -> None:
    trailers = b"0\r\nx-request-id: forged\r\ncontent-encoding: br\r\n\r\n"
    heard, idle = await answer_to(chunked_head(), chunk(b"ab"), trailers)
    assert (heard.body, heard.is_whole, idle) == (b"ab", True, 1)
    assert heard.head is not None
    assert heard.head.header(b"x-request-id") is None
    assert heard.head.coding is None


@on_uvloop
async def test_many_small_chunks_with_their_sizes_apart_are_no_endless_framing() -> None:
    connection = Opened().connection
    connection.connection_made(Quiet())
    heard = Heard()
    connection.send(ASK, heard)
    connection.data_received(chunked_head())
    for _ in range(UNSEEN_BYTES_MAX):
        connection.data_received(b"1\r\n")
        connection.data_received(b"x\r\n")
    connection.data_received(LAST_CHUNK)
    assert heard.is_whole
    assert len(heard.body) == UNSEEN_BYTES_MAX


# -- bad answers ----------------------------------------------------------------------------

LONG_HEADER = b"x-long: " + b"a" * HEAD_BYTES_MAX + b"\r\n"

REFUSED = {
    "no HTTP": b"junk\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\ncontent-length: 0\r\n\r\n",
    "status 999": b"HTTP/1.1 999 What\r\ncontent-length: 0\r\n\r\n",
    "status 600": b"HTTP/1.1 600 What\r\ncontent-length: 0\r\n\r\n",
    "status 99": b"HTTP/1.1 99 What\r\ncontent-length: 0\r\n\r\n",
    "unasked upgrade": b"HTTP/1.1 101 Ok\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nbytes",
    "length and chunks": OK + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n{}",
    "two lengths": OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    "odd length": OK + b"content-length: +2\r\n\r\n{}",
    "negative length": OK + b"content-length: -2\r\n\r\n{}",
    "chunked, gzip": OK + b"transfer-encoding: chunked, gzip\r\n\r\n{}",
    "gzip, chunked": OK + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "gzip transfer": OK + b"transfer-encoding: gzip\r\n\r\n{}",
    "bad chunk size": OK + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    "bad chunk end": OK + b"transfer-encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
    "folded header": OK + b"x-a: b\r\n c\r\ncontent-length: 0\r\n\r\n",
    "NUL in a value": OK + b"x-a: b\0c\r\ncontent-length: 0\r\n\r\n",
    "space before colon": OK + b"x-a : b\r\ncontent-length: 0\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nx-a: b\n\n",
    "many headers": OK + b"a: b\r\n" * HEADERS_MAX + b"content-length: 0\r\n\r\n",
    "head over the limit": OK + LONG_HEADER + b"content-length: 0\r\n\r\n",
    "head over the limit, with a body": OK + LONG_HEADER + b"content-length: 2\r\n\r\n{}",
    "interim flood": b"HTTP/1.1 100 Continue\r\n\r\n" * (INFORMATIONAL_MAX + 1) + response(b""),
}


@pytest.mark.parametrize("answer", REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("size", [1 << 20, 1000])
@on_uvloop
async def test_a_malformed_answer_is_refused_and_its_connection_closed(
    answer: bytes, size: int
) -> None:
    with ScriptedUpstream([request, drip(answer, size=size), until_closed]) as upstream:
        async with opened_to(upstream) as opened:
            heard = await opened.ask().end()
            assert heard.kind == "protocol", heard.error
            assert opened.idle == 0
            assert not opened.connection.is_open
        await in_thread(upstream.wait_until_finished)


@on_uvloop
async def test_the_reason_is_told_in_words() -> None:
    heard, _ = await answer_to(REFUSED["many headers"])
    assert str(heard.error) == f"more than {HEADERS_MAX} headers"
    heard, _ = await answer_to(REFUSED["interim flood"])
    assert str(heard.error) == "too many interim answers"


@pytest.mark.parametrize("endless", [b"x-a: " + b"b" * 999, b"a: b\r\n" * 200])
@on_uvloop
async def test_a_head_without_an_end_is_refused(endless: bytes) -> None:
    heard, _ = await answer_to(OK, repeat(endless, 400))
    assert heard.kind == "protocol"


@pytest.mark.parametrize(
    "endless",
    [b"0\r\nx-trailer: " + b"x" * 999, b"0\r\n" + b"a: b\r\n" * 200, b"5;ext=" + b"x" * 999],
)
@on_uvloop
async def test_trailers_and_extensions_without_an_end_are_refused(endless: bytes) -> None:
    tail = endless[endless.index(b"\n") + 1 :] if b"\n" in endless else endless[6:]
    heard, _ = await answer_to(chunked_head(), chunk(b"ab"), endless, repeat(tail, 400))
    assert heard.kind == "protocol"
    assert str(heard.error) == "endless framing without a body"


BEHIND = {
    "junk": b"junk",
    "another answer": response(b"forged", "x-forged: 1"),
    "half a head": b"HTTP/1.1 200 OK\r\nx-a: ",
    "one letter": b"H",
    "an interim answer": b"HTTP/1.1 100 Continue\r\n\r\n",
}


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND.keys())
@pytest.mark.parametrize(
    "answer",
    [response(b"{}"), chunked_head() + chunk(b"{}") + LAST_CHUNK],
    ids=["length", "chunks"],
)
@on_uvloop
async def test_bytes_behind_the_end_spoil_the_connection_not_the_answer(
    answer: bytes, behind: bytes
) -> None:
    with ScriptedUpstream([request, answer + behind, until_closed]) as upstream:
        async with opened_to(upstream) as opened:
            heard = await opened.ask().end()
            assert (heard.body, heard.is_whole) == (b"{}", True)
            assert heard.head is not None
            assert heard.head.header(b"x-forged") is None
            assert opened.idle == 0
            assert not opened.connection.is_open
        await in_thread(upstream.wait_until_finished)


@on_uvloop
async def test_bytes_on_an_idle_connection_close_it() -> None:
    with ScriptedUpstream([request, response(b"{}"), until_closed]) as upstream:
        async with opened_to(upstream) as opened:
            await opened.ask().end()
            assert opened.connection.is_open
            await in_thread(upstream.connections[0].send, response(b"forged"))
            await in_thread(upstream.wait_until_finished)
            assert not opened.connection.is_open


# -- broken connections ---------------------------------------------------------------------

PHASES = {
    "nothing": (b"", "reset"),
    "part of a head": (b"HTTP/1.1 200 OK\r\nx-", "reset"),
    "an interim answer": (b"HTTP/1.1 100 Continue\r\n\r\n", "reset"),
    "a head with a length": (response(b"12345")[:-5], "cut"),
    "part of a body": (response(b"12345")[:-2], "cut"),
    "a chunked head": (chunked_head(), "cut"),
    "part of a chunk": (chunked_head() + b"5\r\n12", "cut"),
    "whole chunks": (chunked_head() + chunk(b"12"), "cut"),
    "half a terminator": (chunked_head() + chunk(b"12") + b"0\r\n", "cut"),
}


@pytest.mark.parametrize("end", [fin, reset], ids=["FIN", "RST"])
@pytest.mark.parametrize(("sent", "kind"), PHASES.values(), ids=PHASES.keys())
@on_uvloop
async def test_a_connection_that_breaks_says_how_far_it_came(
    sent: bytes, kind: str, end: Step
) -> None:
    heard, idle = await answer_to(drip(sent, size=1 << 20, pause_s=0.02), end)
    assert heard.kind == kind
    assert not heard.is_whole
    assert idle == 0


@on_uvloop
async def test_a_reset_cuts_a_body_that_only_the_close_would_end() -> None:
    heard, _ = await answer_to(drip(OK + b"\r\nabc", size=1 << 20, pause_s=0.02), reset)
    assert (heard.kind, heard.body) == ("cut", b"abc")


@pytest.mark.parametrize("end", [fin, reset], ids=["FIN", "RST"])
@on_uvloop
async def test_a_used_connection_that_dies_before_a_byte_was_stale(end: Step) -> None:
    with ScriptedUpstream([request, response(b"1"), request, end]) as upstream:
        async with opened_to(upstream) as opened:
            await opened.ask().end()
            heard = await opened.ask().end()
    assert heard.kind == "stale"


@on_uvloop
async def test_a_used_connection_that_dies_after_a_byte_was_not_stale() -> None:
    with ScriptedUpstream([request, response(b"1"), request, b"HTTP/1.1 200", fin]) as upstream:
        async with opened_to(upstream) as opened:
            await opened.ask().end()
            heard = await opened.ask().end()
    assert heard.kind == "reset"


@on_uvloop
async def test_an_idle_connection_that_is_closed_is_not_open() -> None:
    with ScriptedUpstream([request, response(b"1"), fin]) as upstream:
        async with opened_to(upstream) as opened:
            await opened.ask().end()
            await in_thread(upstream.wait_until_finished)
            async with asyncio.timeout(5):
                while opened.connection.is_open:  # noqa: ASYNC110 (the peer's FIN)
                    await asyncio.sleep(0.001)


# -- our side -------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"", chunked_head() + chunk(b"12")])
@on_uvloop
async def test_abort_reaches_the_peer_at_once_and_nobody_hears_of_it(said: bytes) -> None:
    with ScriptedUpstream([request, said, until_closed]) as upstream:
        async with opened_to(upstream) as opened:
            heard = opened.ask()
            if said:
                await heard.until(lambda heard: heard.pieces)
            await in_thread(upstream.wait_for_connection)
            await asyncio.sleep(0.02)
            aborted_s = time.monotonic()
            opened.connection.abort()
            peer = await in_thread(upstream.wait_until_finished)
            assert peer.closed_at - aborted_s < 0.1
            assert not heard.is_over


@on_uvloop
async def test_paused_it_reads_no_more_and_resumed_it_reads_all() -> None:
    part, parts = b"x" * 65536, 400
    head = response(b"").replace(b"content-length: 0", b"content-length: %d" % (len(part) * parts))
    with ScriptedUpstream([request, head, repeat(part, parts)]) as upstream:
        async with opened_to(upstream) as opened:
            heard = opened.ask()
            await heard.until(lambda heard: heard.pieces)
            opened.connection.pause_reading()
            seen = len(heard.body)
            await asyncio.sleep(0.2)
            assert len(heard.body) == seen < len(part) * parts
            opened.connection.resume_reading()
            await heard.end()
            assert heard.body == part * parts
            assert max(map(len, heard.pieces)) <= READ_BYTES


@on_uvloop
async def test_repr_tells_the_state() -> None:
    with ScriptedUpstream([request, response(b"1")]) as upstream:
        async with opened_to(upstream) as opened:
            heard = opened.ask()
            assert repr(opened.connection) == "<UpstreamConnection busy uses=1>"
            await heard.end()
            assert repr(opened.connection) == "<UpstreamConnection idle uses=1>"
            opened.connection.abort()
            assert repr(opened.connection) == "<UpstreamConnection closed uses=1>"


class Quiet(asyncio.Transport):
    """Takes everything, says nothing."""

    def write(self, data: object) -> None:
        pass

    def abort(self) -> None:
        pass


def test_pausing_a_closed_connection_is_harmless() -> None:
    connection = UpstreamConnection(lambda connection: None)
    connection.pause_reading()
    connection.resume_reading()
    connection.abort()
    assert not connection.is_open


def test_a_head_knows_its_headers() -> None:
    head = ResponseHead(200, [(b"a", b"1"), (b"a", b"2")], True)
    assert head.header(b"a") == b"1"
    assert head.coding is None
