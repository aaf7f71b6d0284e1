"""Conversations with the client's side of the wire, byte by byte."""

import asyncio
import json
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest

from proxy import downstream
from proxy.heads import RequestHead
from tests.support.certificates import make_certificates
from tests.support.plane import (
    ASKED,
    DONE,
    EVENTS,
    STREAMED,
    Plane,
    event,
    one_backend,
    stream_answer,
    whole_answer,
)
from tests.support.raw_client import CHAT, RawClient, body_of, get, post
from tests.support.scripted import (
    ScriptedUpstream,
    chunk,
    chunked_head,
    request,
    response,
    stall,
    until_closed,
)

ANSWERS = [request, whole_answer()] * 40
BAD_REQUEST = (400, "invalid_request_error", "bad_request")
TOO_LARGE_HEAD = (431, "invalid_request_error", "headers_too_large")
LIMIT = 100_000


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(ANSWERS) as running:
        yield running


@pytest.fixture
def plane(upstream: ScriptedUpstream, tmp_path: Path) -> Iterator[Plane]:
    text = one_backend(upstream.base_url, top=f"limits: {{body: {LIMIT}}}")
    with Plane(tmp_path, text) as running:
        yield running


def head(*lines: str, target: str = CHAT, version: str = " HTTP/1.1") -> bytes:
    """A POST's head, with nothing that was not asked for."""
    return "\r\n".join([f"POST {target}{version}", *lines, "", ""]).encode("latin-1")


def chunked(*headers: str, target: str = CHAT) -> bytes:
    return head("Host: x", "Transfer-Encoding: chunked", *headers, target=target)


SMUGGLING = {
    "no Host": head("Content-Length: 2") + b"{}",
    "two Hosts": head("Host: x", "Host: x", "Content-Length: 2") + b"{}",
    "absolute form": head("Host: x", "Content-Length: 2", target=f"http://x{CHAT}") + b"{}",
    "authority in the path": head("Host: x", "Content-Length: 2", target=f"//x{CHAT}") + b"{}",
    "HTTP/0.9": head("Host: x", "Content-Length: 2", version=" HTTP/0.9") + b"{}",
    "no version": head("Host: x", "Content-Length: 2", version="") + b"{}",
    "HTTP/2.0": head("Host: x", "Content-Length: 2", version=" HTTP/2.0") + b"{}",
    "HTTP/1.2": head("Host: x", "Content-Length: 2", version=" HTTP/1.2") + b"{}",
    "HTTP/1.0 with chunks": head("Transfer-Encoding: chunked", version=" HTTP/1.0") + b"0\r\n\r\n",
    "two codings": head("Host: x", "Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
    "chunked not last": head("Host: x", "Transfer-Encoding: chunked, gzip") + b"0\r\n\r\n",
    "chunked twice": chunked("Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "chunked, chunked": head("Host: x", "Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n",
    "unknown coding": head("Host: x", "Transfer-Encoding: identity") + b"0\r\n\r\n",
    "misspelt coding": head("Host: x", "Transfer-Encoding: xchunked") + b"0\r\n\r\n",
    "quoted coding": head("Host: x", 'Transfer-Encoding: "chunked"') + b"0\r\n\r\n",
    "empty coding": head("Host: x", "Transfer-Encoding:", "Content-Length: 2") + b"{}",
    "length and chunks": chunked("Content-Length: 2") + b"0\r\n\r\n",
    "chunks and length": head("Host: x", "Content-Length: 2", "Transfer-Encoding: chunked")
    + b"0\r\n\r\n",
    "two lengths": head("Host: x", "Content-Length: 2", "Content-Length: 3") + b"{}",
    "the same length twice": head("Host: x", "Content-Length: 2", "Content-Length: 2") + b"{}",
    "list of lengths": head("Host: x", "Content-Length: 2, 2") + b"{}",
    "signed length": head("Host: x", "Content-Length: +2") + b"{}",
    "negative length": head("Host: x", "Content-Length: -2") + b"{}",
    "hexadecimal length": head("Host: x", "Content-Length: 0x2") + b"{}",
    "no length": head("Host: x", "Content-Length:") + b"{}",
    "length with a gap": head("Host: x", "Content-Length: 1 2") + b"{}",
    "endless length": head("Host: x", f"Content-Length: {'9' * 30}") + b"{}",
    "space before the colon": head("Host: x", "Transfer-Encoding : chunked") + b"0\r\n\r\n",
    "folded header": head("Host: x", "X-A: b", " c", "Content-Length: 2") + b"{}",
    "folded coding": head("Host: x", "Transfer-Encoding:", " chunked") + b"0\r\n\r\n",
    "bare LF": b"POST %b HTTP/1.1\nHost: x\nContent-Length: 2\n\n{}" % CHAT.encode(),
    "bare LF in a header": head("Host: x", "X-A: b\nX-C: d", "Content-Length: 2") + b"{}",
    "bare CR in a header": head("Host: x", "X-A: b\rX-C: d", "Content-Length: 2") + b"{}",
    "NUL in a value": head("Host: x", "X-A: b\0c", "Content-Length: 2") + b"{}",
    "control byte in a value": head("Host: x", "X-A: b\x01c", "Content-Length: 2") + b"{}",
    "NUL in the target": head("Host: x", "Content-Length: 2", target=CHAT + "\0") + b"{}",
    "no colon": head("Host: x", "Nothing", "Content-Length: 2") + b"{}",
    "no name": head("Host: x", ": b", "Content-Length: 2") + b"{}",
    "underscore in a name": head("Host: x", "Content_Length: 9", "Content-Length: 2") + b"{}",
    "lower-case method": b"post" + head("Host: x", "Content-Length: 2")[4:] + b"{}",
    "unknown method": b"ROUTE" + head("Host: x", "Content-Length: 2")[4:] + b"{}",
    "CONNECT": b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n",
    "OPTIONS for the server": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "body on GET": get("/v1/models", "Content-Length: 2") + b"{}",
    "chunks on GET": get("/v1/models", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "chunk size that is none": chunked() + b"x\r\n{}\r\n0\r\n\r\n",
    "empty chunk size": chunked() + b"\r\n{}\r\n0\r\n\r\n",
    "negative chunk size": chunked() + b"-2\r\n{}\r\n0\r\n\r\n",
    "chunk size with 0x": chunked() + b"0x2\r\n{}\r\n0\r\n\r\n",
    "chunk size beyond 64 bits": chunked() + b"1" + b"0" * 16 + b"2\r\n{}\r\n0\r\n\r\n",
    "chunk longer than its size": chunked() + b"2\r\n{} \r\n0\r\n\r\n",
    "chunk ended by LF": chunked() + b"2\r\n{}\n0\r\n\r\n",
    "size ended by LF": chunked() + b"2\n{}\r\n0\r\n\r\n",
    "length in the trailers": chunked() + b"0\r\nContent-Length: 2\r\n\r\n{}",
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "empty lines without end": b"\r\n\0",
}


@pytest.mark.parametrize("script", SMUGGLING.values(), ids=SMUGGLING)
def test_refuses_what_two_readers_could_take_in_two_ways(
    plane: Plane, upstream: ScriptedUpstream, script: bytes
) -> None:
    with plane.client() as client:
        answer = client.send(script).read()
        assert answer.code == BAD_REQUEST
        assert answer.header("connection") == "close"
        assert answer.header("server") is None
        assert client.is_closed()
    assert upstream.requests == []
    with plane.client() as neighbour:
        assert neighbour.ask(ASKED).status == 200


@pytest.mark.parametrize(
    "target",
    [
        "/v1/../v1/chat/completions",
        "/v1/./chat/completions",
        "/v1/%2e%2e/v1/chat/completions",
        "/v1%2fchat/completions",
        "/v1/chat/completions/",
        "/v1/chat/completions;x=1",
        "/v1/chat//completions",
        "/V1/chat/completions",
        "/v1/chat/completions%00",
        "/v1/completion",
        "/v1/embeddings/",
        "/openai/deployments/x/chat/completions",
        "/",
    ],
)
def test_knows_its_paths_exactly(plane: Plane, upstream: ScriptedUpstream, target: str) -> None:
    with plane.client() as client:
        answer = client.ask(ASKED, path=target)
        assert answer.code == (404, "invalid_request_error", "unknown_url")
        assert client.ask(ASKED).status == 200
    assert len(upstream.requests) == 1


TOO_LARGE = {
    "target": head("Host: x", target=CHAT + "?" + "a" * 8192),
    "endless target": b"POST /" + b"a" * 200_000,
    "101 headers": head("Host: x", *[f"X-{n}: a" for n in range(100)], "Content-Length: 2"),
    "one long header": head("Host: x", "X-A: " + "a" * 66_000),
    "many long headers": head("Host: x", *[f"X-{n}: {'a' * 1000}" for n in range(70)]),
    "endless name": head("Host: x")[:-2] + b"x" * 200_000,
    "endless value": head("Host: x", "X-A: ")[:-4] + b"a" * 200_000,
}


@pytest.mark.parametrize("script", TOO_LARGE.values(), ids=TOO_LARGE)
def test_bounds_the_head(plane: Plane, script: bytes) -> None:
    with plane.client() as client:
        assert client.send(script).read().code == TOO_LARGE_HEAD
        assert client.is_closed()
    assert plane.records() == []


def test_takes_a_head_just_within_its_bounds(plane: Plane) -> None:
    headers = [f"X-{n}: {'a' * 500}" for n in range(96)]
    with plane.client() as client:
        assert client.ask(ASKED, *headers, path=f"{CHAT}?{'a' * 8000}").status == 200


@pytest.mark.parametrize(
    "rest",
    [
        b"2;" + b"x" * 200_000 + b"\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}\r\n0\r\n" + b"X-A: b\r\n" * 20_000 + b"\r\n",
        b"2\r\n{}\r\n0\r\nX-A: " + b"b" * 200_000,
    ],
    ids=["chunk extension", "trailers", "endless trailer"],
)
def test_bounds_what_stands_beside_the_body(plane: Plane, rest: bytes) -> None:
    """Before its end comes: what ends within one read has been bounded by that."""
    with plane.client() as client:
        assert client.send(chunked() + rest[:-1]).read().code == BAD_REQUEST
        assert client.is_closed()


# -- bodies ---------------------------------------------------------------------------------------


def test_takes_a_chunked_body_and_drops_its_trailers(
    plane: Plane, upstream: ScriptedUpstream
) -> None:
    body = post(ASKED).partition(b"\r\n\r\n")[2]
    pieces = b"".join(chunk(body[at : at + 7]) for at in range(0, len(body), 7))
    script = chunked("Content-Type: application/json") + pieces
    script += b"0\r\nAuthorization: evil\r\nHost: evil\r\nX-Stainless-Lang: evil\r\n\r\n"
    with plane.client() as client:
        assert client.send(script).read().status == 200
        assert client.ask(ASKED).status == 200
    sent, _ = upstream.requests
    assert b"evil" not in sent
    assert sent.endswith(body.replace(b'"auto"', b'"m-a"'))
    assert b"content-length: %d\r\n" % (len(body) - 1) in sent
    assert plane.wait_for_records(2)[0].record.request == body


def test_takes_a_body_byte_by_byte(plane: Plane, upstream: ScriptedUpstream) -> None:
    with plane.client() as client:
        for byte in post(ASKED):
            client.send(bytes([byte]))
        assert client.read().status == 200


@pytest.mark.parametrize("is_chunked", [False, True])
def test_refuses_a_body_over_the_limit_without_reading_on(plane: Plane, is_chunked: bool) -> None:
    with plane.client() as client:
        if is_chunked:
            client.send(chunked() + chunk(b"x" * LIMIT) + chunk(b"x"))
        else:
            client.send(head("Host: x", f"Content-Length: {LIMIT + 1}"))
        answer = client.read()
        assert answer.code == (413, "invalid_request_error", "request_too_large")
        assert client.is_closed()
    kept = plane.only_record()
    assert kept.ended == ("refused", False, 413, "request_too_large")
    assert kept.response == answer.body


def test_takes_a_body_of_the_limit_exactly(plane: Plane) -> None:
    body = post(ASKED).partition(b"\r\n\r\n")[2]
    with plane.client() as client:
        assert client.ask(body + b" " * (LIMIT - len(body))).status == 200


def test_answers_even_while_the_client_still_sends(plane: Plane) -> None:
    with plane.client() as client:
        client.send(head("Host: x", f"Content-Length: {LIMIT + 1}"))
        client.send(b"x" * LIMIT)
        time.sleep(0.05)
        client.send(b"x")
        assert client.read().status == 413


@pytest.mark.parametrize("path", ["/v1/nothing", CHAT])
def test_a_length_that_lies_ends_with_the_connection(plane: Plane, path: str) -> None:
    """More than the length says is a second request, and a bad one."""
    script = post(ASKED, path=path) + b"GARBAGE\r\n\r\n"
    with plane.client() as client:
        assert client.send(script).read().status in (200, 404)
        assert client.read().code == BAD_REQUEST
        assert client.is_closed()


# -- Expect, HTTP/1.0, Upgrade --------------------------------------------------------------------


def test_says_continue_itself(plane: Plane, upstream: ScriptedUpstream) -> None:
    whole = post(ASKED, "Expect: 100-continue")
    end = whole.index(b"\r\n\r\n") + 4
    with plane.client() as client:
        client.send(whole[:end])
        assert client.read().status == 100
        assert client.send(whole[end:]).read().status == 200
    (sent,) = upstream.requests
    assert b"expect" not in sent.lower()


def test_says_continue_when_the_request_before_is_answered(tmp_path: Path) -> None:
    whole = post(ASKED, "Expect: 100-continue")
    end = whole.index(b"\r\n\r\n") + 4
    script = [request, stall(0.1), whole_answer(), *ANSWERS]
    with (
        ScriptedUpstream(script) as up,
        Plane(tmp_path, one_backend(up.base_url)) as plane,
        plane.client() as client,
    ):
        client.send(post(ASKED) + whole[:end])
        assert client.read().status == 200
        assert client.read().status == 100
        assert client.send(whole[end:]).read().status == 200


@pytest.mark.parametrize("value", ["200-ok", "100-continue, x", "continue"])
def test_refuses_any_other_expectation(
    plane: Plane, upstream: ScriptedUpstream, value: str
) -> None:
    with plane.client() as client:
        answer = client.ask(ASKED, f"Expect: {value}")
        assert answer.status == 417
        assert answer.error["type"] == "invalid_request_error"
        assert client.is_closed()
    assert upstream.requests == []


def test_a_body_over_the_limit_is_refused_before_it_is_sent(plane: Plane) -> None:
    lines = ("Host: x", "Expect: 100-continue", f"Content-Length: {LIMIT + 1}")
    with plane.client() as client:
        assert client.send(head(*lines)).read().status == 413


def test_an_old_client_gets_a_body_until_close(tmp_path: Path) -> None:
    with (
        ScriptedUpstream([request, stream_answer(EVENTS, DONE)]) as up,
        Plane(tmp_path, one_backend(up.base_url)) as plane,
        plane.client() as client,
    ):
        answer = client.send(post(STREAMED, "Connection: keep-alive", version="HTTP/1.0")).read()
        assert (answer.status, answer.framing) == (200, "close")
        assert answer.body.endswith(b'"finish_reason":"stop"}]}\n\n' + DONE)
        assert plane.only_record().response == answer.body


def test_an_old_client_is_kept_only_where_it_asks(plane: Plane) -> None:
    with plane.client() as client:
        answer = client.send(post(ASKED, "Connection: keep-alive", version="HTTP/1.0")).read()
        assert (answer.status, answer.header("connection")) == (200, "keep-alive")
        answer = client.send(post(ASKED, version="HTTP/1.0")).read()
        assert (answer.status, answer.framing) == (200, "length")
        assert client.is_closed()


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_request_that_offers_http_2_is_answered_with_its_body(
    tmp_path: Path, is_whole: bool
) -> None:
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    raw = post(ASKED, *offer)
    with (
        ScriptedUpstream([request, whole_answer()]) as up,
        Plane(tmp_path, one_backend(up.base_url)) as plane,
        plane.client() as client,
    ):
        if not is_whole:
            client.send(raw[:-20])
            time.sleep(0.05)
        answer = client.send(raw if is_whole else raw[-20:]).read()
        assert answer.status == 200
        assert answer.header("connection") == "close"
        assert plane.only_record().record.request == json.dumps(ASKED).encode()


def test_an_offer_to_upgrade_with_a_chunked_body_is_refused(plane: Plane) -> None:
    lines = ["POST /v1/chat/completions HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: h2c"]
    with plane.client() as client:
        client.send("\r\n".join([*lines, "Transfer-Encoding: chunked", "", "5"]).encode())
        assert client.read().code == BAD_REQUEST


@pytest.mark.parametrize("path", ["/v1/realtime", "/v1/models"])
def test_never_switches_protocols(plane: Plane, path: str) -> None:
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
    with plane.client() as client:
        answer = client.send(get(path, *upgrade) + b"\x81\x05hello").read()
        assert answer.status == (200 if path == "/v1/models" else 404)
        assert client.is_closed()


# -- order and connections ------------------------------------------------------------------------


def test_answers_pipelined_requests_in_order(plane: Plane, upstream: ScriptedUpstream) -> None:
    script = post(ASKED) + get("/v1/nothing") + get("/healthz") + post(b"{") + post(ASKED)
    with plane.client() as client:
        client.send(script)
        statuses = [client.read().status for _ in range(5)]
        assert statuses == [200, 404, 200, 400, 200]
        assert client.ask(ASKED).status == 200
    assert len(plane.wait_for_records(4)) == 4


def test_pipelines_more_than_it_reads_ahead(plane: Plane) -> None:
    count = 3 * downstream.PIPELINED_MAX
    with plane.client() as client:
        client.send(get("/healthz") * count + get("/v1/models/none") + get("/healthz"))
        assert [client.read().status for _ in range(count + 2)] == [200] * count + [404, 200]


def test_a_get_with_a_body_is_refused_also_behind_one_without(plane: Plane) -> None:
    head = "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n"
    with plane.client() as client:
        assert client.send(head.format(0).encode()).read().status == 200
        assert client.send(head.format(5).encode() + b"hello").read().code == BAD_REQUEST


def test_a_stray_line_end_begins_no_request(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(downstream.TIMEOUTS_S, "header", 0.2)
    with plane.client() as client:
        client.send(get("/healthz"))
        assert client.read().status == 200
        client.send(b"\r\n")
        time.sleep(0.5)
        assert client.send(get("/healthz")).read().status == 200


def test_an_upload_that_paused_reading_stays_paused_while_answers_go_out() -> None:
    class Transport(asyncio.Transport):
        is_reading = True

        def write(self, data: bytes | bytearray | memoryview) -> None:
            pass

        def pause_reading(self) -> None:
            self.is_reading = False

        def resume_reading(self) -> None:
            self.is_reading = True

    class Waiting:
        keeps_body = True
        streams_body = False

        def begin(self, body: bytes) -> None:
            pass

    class Server:
        body_bytes_max = 100
        wiring = None

        def open(self, client: object, head: RequestHead) -> Waiting:
            return Waiting()

        def connected(self, client: object) -> None:
            pass

    loop = asyncio.new_event_loop()
    protocol = downstream.DownstreamProtocol(cast(Any, Server()), loop)
    transport = Transport()
    protocol.connection_made(transport)
    protocol.data_received(get("/v1/models") * (downstream.PIPELINED_MAX + 2))
    assert not transport.is_reading
    protocol.pause_reading()  # the upload's
    for _ in range(3):
        protocol.response_done(keeps_alive=True)
    assert not transport.is_reading
    protocol.resume_reading()
    assert transport.is_reading
    loop.close()


def test_pipelined_requests_wait_for_the_stream_before_them(tmp_path: Path) -> None:
    script = [request, chunked_head() + chunk(EVENTS), stall(0.1), chunk(DONE) + b"0\r\n\r\n"]
    with (
        ScriptedUpstream([*script, request, whole_answer("second")], ANSWERS) as up,
        Plane(tmp_path, one_backend(up.base_url)) as plane,
        plane.client() as client,
    ):
        client.send(post(STREAMED) + post(ASKED))
        first, second = client.read(), client.read()
        assert first.is_whole
        assert first.body.endswith(DONE)
        assert second.json["choices"][0]["message"]["content"] == "second"


def test_a_bad_request_behind_a_good_one_waits_its_turn(tmp_path: Path) -> None:
    with (
        ScriptedUpstream([request, stall(0.1), whole_answer()]) as up,
        Plane(tmp_path, one_backend(up.base_url)) as plane,
        plane.client() as client,
    ):
        client.send(post(ASKED) + b"NONSENSE\r\n\r\n")
        assert client.read().status == 200
        assert client.read().code == BAD_REQUEST
        assert client.is_closed()


def test_requests_behind_an_answer_that_closes_are_recorded_too(tmp_path: Path) -> None:
    with (
        ScriptedUpstream([request, stream_answer(event("half"))]) as up,
        Plane(tmp_path, one_backend(up.base_url)) as plane,
        plane.client() as client,
    ):
        client.send(post(STREAMED) + post(ASKED))
        assert not client.read().is_whole
        first, second = plane.wait_for_records(2)
        assert first.record.status == "upstream_cut"
        assert second.record.status == "client_gone"
        assert len(up.requests) == 1


def test_closes_where_the_client_asks(plane: Plane) -> None:
    with plane.client() as client:
        answer = client.ask(ASKED, "Connection: close")
        assert (answer.status, answer.header("connection")) == (200, "close")
        assert client.is_closed()


def test_serves_nothing_behind_a_close(plane: Plane, upstream: ScriptedUpstream) -> None:
    with plane.client() as client:
        client.send(post(ASKED, "Connection: close") + post(ASKED))
        assert client.read().status == 200
        assert client.unread() == b""
    assert len(upstream.requests) == 1


def test_keeps_the_connection_for_the_next_request(
    plane: Plane, upstream: ScriptedUpstream
) -> None:
    with plane.client() as client:
        for _ in range(5):
            assert client.ask(ASKED).header("connection") is None
    assert len(upstream.connections) == 1


def test_answers_differ_though_heads_are_the_same(plane: Plane, upstream: ScriptedUpstream) -> None:
    """Heads may be remembered; bodies, lengths and what is refused may not."""
    short, long = {**ASKED, "user": "a"}, {**ASKED, "user": "b" * 1000}
    with plane.client() as client:
        for body in (short, long, short):
            assert client.ask(body).status == 200
        assert client.ask(b"{").status == 400
        assert client.send(head("Host: x", f"Content-Length: {LIMIT + 1}")).read().status == 413
    assert [sent.count(b"b" * 1000) for sent in upstream.requests] == [0, 1, 0]
    assert [kept.record.user for kept in plane.wait_for_records(5)][:3] == ["a", "b" * 1000, "a"]


@pytest.mark.parametrize("first", [1, 5, 40, 80])
def test_a_head_may_come_in_two_pieces(plane: Plane, first: int) -> None:
    with plane.client() as client:
        for _ in range(2):
            whole = post(ASKED)
            client.send(whole[:first])
            time.sleep(0.02)
            assert client.send(whole[first:]).read().status == 200


def test_a_remembered_head_is_judged_by_its_own_bytes(
    plane: Plane, upstream: ScriptedUpstream
) -> None:
    """A head seen before, followed by a body cut short or by another request's start."""
    whole = post(ASKED)
    with plane.client() as client:
        assert client.send(whole).read().status == 200
        client.send(whole[:-5])
        time.sleep(0.02)
        assert client.send(whole[-5:] + whole).read().status == 200
        assert client.read().status == 200
    assert len(set(upstream.requests)) == 1


HALF_A_HEAD = head("Host: x", "Content-Type: application/json", "Content-Length: ")[:-4]


def test_no_head_is_remembered_by_half_of_its_bytes(plane: Plane) -> None:
    """Else one client could choose another one's headers."""
    body = post(ASKED).partition(b"\r\n\r\n")[2]
    with plane.client() as client:
        client.send(HALF_A_HEAD + b"%d\r" % len(body))
        time.sleep(0.02)
        client.send(b"\nx-pointsman-label-task: mine\r\n\r\n" + body)
        assert client.read().status == 200
    with plane.client() as other:
        other.send(HALF_A_HEAD + b"%d\r\n\r\n" % len(body) + body)
        assert other.read().status == 200
    mine, theirs = plane.wait_for_records(2)
    assert mine.record.task == "mine"
    assert theirs.record.labels == {}


def test_no_head_is_remembered_that_began_in_another_read(tmp_path: Path) -> None:
    body = post(ASKED).partition(b"\r\n\r\n")[2]
    start = b"POST %b HTTP/1.1\r\nx-pointsman-label-task: mine\r\nX-A: " % CHAT.encode()
    whole = HALF_A_HEAD + b"%d\r\n\r\n" % len(body) + body
    with (
        ScriptedUpstream([request, stall(0.05), whole_answer(), *ANSWERS]) as up,
        Plane(tmp_path, one_backend(up.base_url)) as plane,
    ):
        with plane.client() as client:
            client.send(post(ASKED) + start)
            assert client.read().status == 200
            assert client.send(whole).read().status == 200
        with plane.client() as other:
            assert other.send(whole).read().status == 200
        _, mine, theirs = plane.wait_for_records(3)
    assert (mine.record.task, theirs.record.labels) == ("mine", {})


# -- time -----------------------------------------------------------------------------------------


def shorten(monkeypatch: pytest.MonkeyPatch, phase: str, span_s: float) -> None:
    monkeypatch.setitem(downstream.TIMEOUTS_S, phase, span_s)
    monkeypatch.setitem(downstream.TIMEOUTS_S, "serving", 0.1)
    monkeypatch.setattr(downstream, "HEADER_TIMEOUT_S", 0.05)


@pytest.mark.parametrize("sent", [b"P", b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"])
def test_a_head_that_does_not_come_is_told_so(
    plane: Plane, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    shorten(monkeypatch, "header", 0.1)
    with plane.client() as client:
        answer = client.send(sent).read()
        assert answer.code == (408, "invalid_request_error", "request_timeout")
        assert client.is_closed()
    assert plane.records() == []


@pytest.mark.timed
def test_a_head_may_not_drip_for_ever(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch, "header", 0.2)
    started_s = time.monotonic()
    with plane.client() as client:
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\n")
        for number in range(12):
            client.send(b"X-%d: a\r\n" % number)
            time.sleep(0.03)
        assert client.read().status == 408
    assert time.monotonic() - started_s < 1.0


def test_a_body_that_does_not_come_is_told_so(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(monkeypatch, "body", 0.1)
    with plane.client() as client:
        answer = client.send(post(ASKED)[:-1]).read()
        assert answer.code == (408, "invalid_request_error", "request_timeout")
        assert client.is_closed()
    kept = plane.only_record()
    assert kept.ended == ("refused", False, 408, "request_timeout")
    assert kept.response == answer.body


@pytest.mark.timed
def test_a_body_may_not_drip_for_ever(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch, "body", 0.2)
    started_s = time.monotonic()
    with plane.client() as client:
        client.send(post(ASKED)[:-14])
        for _ in range(12):
            client.send(b" ")
            time.sleep(0.03)
        assert client.read().status == 408
    assert time.monotonic() - started_s < 1.0


def test_a_body_that_goes_on_has_its_time_anew(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(monkeypatch, "body", 0.5)
    monkeypatch.setattr(downstream, "BODY_PROGRESS_BYTES", 1000)
    filler = b" " * 8000
    with plane.client() as client:
        body = body_of(ASKED)[:-1] + filler + b"}"
        client.send(post(body)[: -len(filler) - 1])
        for start in range(0, len(filler), 1000):
            time.sleep(0.1)
            client.send(filler[start : start + 1000])
        assert client.send(b"}").read().status == 200


def test_a_slow_body_harms_no_neighbour(plane: Plane) -> None:
    with plane.client() as slow, plane.client() as quick:
        slow.send(post(ASKED)[:-1])
        assert quick.ask(ASKED).status == 200
        assert slow.send(post(ASKED)[-1:]).read().status == 200


def test_an_idle_connection_is_closed_in_the_end(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(monkeypatch, "idle", 0.1)
    with plane.client() as client:
        assert client.ask(ASKED).status == 200
        assert client.is_closed(1.0)


def test_a_connection_that_says_nothing_is_closed(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(monkeypatch, "idle", 0.1)
    with plane.client() as client:
        assert client.is_closed(1.0)
    assert plane.count("client_connections") == 0


def test_a_client_that_never_closes_is_not_waited_for(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(downstream.TIMEOUTS_S, "lingering", 0.1)
    with plane.client() as client:
        assert client.send(b"NONSENSE\r\n\r\n").read().status == 400
        plane.wait_until(lambda: plane.count("client_connections") == 0, 1.0)


def answers_large(size: int) -> list[object]:
    body = b'{"choices":[{"finish_reason":"stop","index":0}],"x":"%b"}' % (b"x" * size)
    return [request, response(body)] * 12


@pytest.mark.parametrize("headers", [(), ("Connection: close",)], ids=["kept", "closed"])
def test_a_client_that_never_reads_its_answer_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, headers: tuple[str, ...]
) -> None:
    shorten(monkeypatch, "idle", 0.1)
    monkeypatch.setattr(downstream, "WRITE_STALL_S", 0.2)
    with (
        ScriptedUpstream(answers_large(3 << 20)) as up,  # type: ignore[arg-type]
        Plane(tmp_path, one_backend(up.base_url)) as plane,
        plane.client() as client,
    ):
        client.send(post(ASKED, *headers))
        plane.only_record()
        plane.wait_until(lambda: plane.count("client_connections") == 0, 3.0)


def test_the_next_answer_waits_until_the_last_one_is_read(tmp_path: Path) -> None:
    """Else a client that asks and does not read makes us hold answers without bound."""
    with (
        ScriptedUpstream(answers_large(3 << 20)) as up,  # type: ignore[arg-type]
        Plane(tmp_path, one_backend(up.base_url)) as plane,
        plane.client() as client,
    ):
        client.send(post(ASKED) * 12)
        time.sleep(0.3)
        assert len(up.requests) < 6  # what the kernel's buffers hold, and one
        for _ in range(12):
            assert client.read().is_whole


# -- the client goes ------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["fin", "half-close", "reset"])
def test_a_client_that_goes_takes_its_backend_along(tmp_path: Path, how: str) -> None:
    with (
        ScriptedUpstream([request, until_closed]) as up,
        Plane(tmp_path, one_backend(up.base_url)) as plane,
    ):
        client = plane.client()
        client.send(post(ASKED))
        plane.wait_until(lambda: up.requests)
        gone_s = time.monotonic()
        leave(client, how)
        connection = up.wait_until_finished()
        assert connection.closed_at is not None
        assert connection.closed_at - gone_s < 1.0
        assert plane.only_record().ended == ("client_gone", False, None, "client_gone")
        assert plane.count("in_flight") == 0
        client.close()


def leave(client: RawClient, how: str) -> None:
    if how == "half-close":
        client.socket.shutdown(socket.SHUT_WR)
        return
    if how == "reset":
        linger = struct.pack("ii", 1, 0)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    client.close()


def test_a_client_that_goes_while_it_sends_is_recorded(plane: Plane) -> None:
    with plane.client() as client:
        client.send(post(ASKED)[:-3])
    kept = plane.only_record()
    assert kept.ended == ("client_gone", False, None, "client_gone")
    assert kept.record.attempts == ()
    assert plane.count("in_flight") == 0


def test_a_client_that_goes_before_its_head_is_whole_leaves_no_record(plane: Plane) -> None:
    with plane.client() as client:
        client.send(post(ASKED)[:30])
    plane.wait_until(lambda: plane.count("client_connections") == 0)
    assert plane.records() == []


def test_a_client_that_goes_leaves_all_it_had_asked(tmp_path: Path) -> None:
    with (
        ScriptedUpstream([request, until_closed]) as up,
        Plane(tmp_path, one_backend(up.base_url)) as plane,
    ):
        with plane.client() as client:
            client.send(post(ASKED) * 3)
            plane.wait_until(lambda: up.requests)
        kept = plane.wait_for_records(3)
        assert {one.record.status for one in kept} == {"client_gone"}
        assert plane.count("in_flight") == 0
    assert len(up.requests) == 1


# -- TLS ------------------------------------------------------------------------------------------


@pytest.fixture
def secured(upstream: ScriptedUpstream, tmp_path: Path) -> Iterator[Plane]:
    make_certificates(tmp_path)
    text = one_backend(upstream.base_url).replace(
        "listen: 127.0.0.1:0",
        "listen: {address: 127.0.0.1:0, tls: {certificate: server.pem, key: server.key}}",
    )
    with Plane(tmp_path, text) as running:
        yield running


def client_of(plane: Plane) -> RawClient:
    return RawClient(plane.port, tls=ssl.create_default_context(cafile=plane.directory / "ca.pem"))


def test_serves_over_tls(secured: Plane) -> None:
    with client_of(secured) as client:
        assert client.ask(ASKED).status == 200
        assert client.ask(ASKED, "Connection: close").status == 200
        assert client.is_closed()


def test_refuses_over_tls(secured: Plane) -> None:
    with client_of(secured) as client:
        assert client.send(b"NONSENSE\r\n\r\n").read().code == BAD_REQUEST
        assert client.is_closed()


def test_plain_text_on_the_tls_port_is_closed(secured: Plane) -> None:
    with secured.client() as client:
        client.send(post(ASKED))
        client.unread()
    assert secured.records() == []


def test_close_notify_counts_as_gone_and_closes(secured: Plane, upstream: ScriptedUpstream) -> None:
    """A client may end TLS and leave TCP open: nobody is there any more all the same."""
    client = client_of(secured)
    assert client.ask(ASKED).status == 200
    client.socket.settimeout(0.2)
    plain = None
    with suppress(OSError, ValueError):
        plain = client.socket.unwrap()  # type: ignore[attr-defined]
    secured.wait_until(lambda: secured.count("client_connections") == 0, 2.0)
    if plain is not None:
        plain.close()
    client.close()
