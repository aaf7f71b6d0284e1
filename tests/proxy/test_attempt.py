"""What one backend says, and what becomes of it: answers whole, broken, odd or none."""

import gzip
import json
import time
from pathlib import Path

import pytest

from proxy import attempt
from tests.support.plane import (
    ASKED,
    DONE,
    EVENTS,
    STREAMED,
    ask,
    completion,
    error_answer,
    event,
    serving,
    serving_two,
    stream_answer,
    whole_answer,
)
from tests.support.scripted import (
    LAST_CHUNK,
    Step,
    chunk,
    chunked_head,
    fin,
    request,
    reset,
    response,
    stall,
    until_closed,
)

HTML = b"<!doctype html><html><body>502 Bad Gateway</body></html>"
UPSTREAM_ERROR = (502, "server_error", "upstream_error")
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"

USELESS: dict[str, list[Step]] = {
    "an empty 200": [response(b"")],
    "a page with status 200": [response(HTML, content_type="text/html")],
    "a page with status 502": [response(HTML, status="502 Bad Gateway", content_type="text/html")],
    "text": [response(b"hello", content_type="text/plain")],
    "a JSON string": [response(b'"hello"')],
    "a JSON array": [response(b"[]")],
    "an empty object": [response(b"{}")],
    "no choices": [response(b'{"object":"chat.completion","choices":[]}')],
    "half a body": [response(completion())[:-10], fin],
    "half a body, reset": [response(completion())[:-10], stall(0.05), reset],
    "half a JSON": [response(completion()[:-10])],
    "nothing": [fin],
    "a reset": [reset],
    "half a head": [b"HTTP/1.1 200 OK\r\ncontent-ty", fin],
    "an empty stream": [chunked_head() + LAST_CHUNK],
    "a stream of comments": [chunked_head() + chunk(b": a\n\n") + LAST_CHUNK],
    "no HTTP": [b"SSH-2.0-OpenSSH_9.2\r\n"],
    "HTTP/2.0": [b"HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\n{}"],
    "status 999": [b"HTTP/1.1 999 X\r\ncontent-length: 2\r\n\r\n{}"],
    "a 101": [b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"],
    "a flood of 1xx": [b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20],
    "length and chunks": [HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}"],
    "two lengths": [HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}"],
    "chunked not last": [HEAD + b"transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n"],
    "a bad chunk": [HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"],
    "a head without end": [b"HTTP/1.1 200 OK\r\n" + b"x-a: " + b"a" * 200_000],
    "too many headers": [b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 300 + b"\r\n"],
    "a redirect": [response(b"", "location: http://127.0.0.1:1/", status="302 Found")],
    "a permanent redirect": [response(b"{}", "location: /v2", status="308 X")],
    "a 204": [b"HTTP/1.1 204 No Content\r\n\r\n"],
    "a 202": [response(b"{}", status="202 Accepted")],
}


@pytest.mark.parametrize("said", USELESS.values(), ids=USELESS)
@pytest.mark.parametrize("is_stream", [False, True], ids=["asked whole", "asked as stream"])
def test_a_useless_answer_is_a_502_and_never_a_200(
    tmp_path: Path, said: list[Step], is_stream: bool
) -> None:
    with serving(tmp_path, [request, *said, request, *said, request, *said]) as (_, plane):
        answer = ask(plane, STREAMED if is_stream else ASKED)
        assert answer.code == UPSTREAM_ERROR
        assert answer.header("x-should-retry") == "false"
        for hidden in (b"127.0.0.1", b"html", b"SSH"):
            assert hidden not in answer.body
        kept = plane.only_record()
        assert kept.ended == ("error", False, 502, "upstream_error")
        assert kept.response == answer.body
        assert plane.call(lambda: plane.data_plane.wiring.pools["a"].in_flight) == 0


FINAL = ("a redirect", "a permanent redirect", "a 204", "a 202")


@pytest.mark.parametrize("name", [name for name in USELESS if name not in FINAL])
def test_another_backend_answers_instead(tmp_path: Path, name: str) -> None:
    said = USELESS[name]
    first: list[Step] = [request, *said, request, *said]
    with serving_two(tmp_path, first, [request, whole_answer()]) as (_, _, plane):
        answer = ask(plane)
        assert (answer.status, answer.header("x-pointsman-backend")) == (200, "b")


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    said = response(b"", "location: http://127.0.0.1:1/v1/x", status="307 X")
    with serving(tmp_path, [request, said]) as (up, plane):
        assert ask(plane).code == UPSTREAM_ERROR
        assert len(up.requests) == 1


def test_a_bad_answer_ends_its_connection_only(tmp_path: Path) -> None:
    scripts = [[request, b"SSH-2.0\r\n"], [request, whole_answer()] * 2]
    with serving(tmp_path, *scripts) as (up, plane):
        for _ in range(2):
            assert ask(plane).status == 200
        assert len(up.connections) == 2
        assert up.wait_until_finished(1).closed_how is not None


@pytest.mark.parametrize(
    "said",
    [
        response(completion()),
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 8 + response(completion()),
        b"HTTP/1.1 100 Continue\r\n\r\n" + response(completion()),
        HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunk(completion()) + LAST_CHUNK,
        HEAD + b"transfer-encoding: Chunked\r\n\r\n" + chunk(completion()) + b"0\r\nx-a: b\r\n\r\n",
        response(completion()) + b"bytes behind the end",
        b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n" + completion(),
        response(b" \n" + completion() + b"\r\n "),
    ],
    ids=["plain", "interim", "continue", "chunks", "trailers", "more", "until close", "spaces"],
)
def test_every_proper_framing_is_understood(tmp_path: Path, said: bytes) -> None:
    with serving(tmp_path, [request, said, fin]) as (_, plane):
        answer = ask(plane)
        assert answer.status == 200
        assert answer.body.strip() == completion()
        assert answer.header("x-a") is None
        assert answer.framing == "length"


def test_bytes_behind_an_answer_spoil_the_connection(tmp_path: Path) -> None:
    smuggled = response(completion()) + whole_answer("stolen")
    scripts = [[request, smuggled, until_closed], [request, whole_answer("mine")]]
    with serving(tmp_path, *scripts) as (_, plane):
        assert ask(plane).status == 200
        time.sleep(0.02)
        assert b"mine" in ask(plane).body


def test_a_whole_answer_passes_for_a_stream_and_not_the_other_way_round(tmp_path: Path) -> None:
    with serving(tmp_path, [request, whole_answer()]) as (_, plane):
        assert ask(plane, STREAMED).body == completion()
    with serving(tmp_path, [request, stream_answer(EVENTS, DONE)] * 3) as (_, plane):
        answer = ask(plane, ASKED)
        assert (answer.status, answer.error["code"]) == (502, "upstream_error")


@pytest.mark.parametrize("is_stream", [False, True])
def test_an_answer_compressed_unasked_passes_as_it_is(tmp_path: Path, is_stream: bool) -> None:
    plain = EVENTS + DONE if is_stream else completion()
    said = gzip.compress(plain)
    kind = "text/event-stream" if is_stream else "application/json"
    coded = response(said, "content-encoding: gzip", content_type=kind)
    with serving(tmp_path, [request, coded] * 3) as (up, plane):
        answer = ask(plane, STREAMED if is_stream else ASKED)
        assert answer.header("content-encoding") == "gzip"
        assert answer.body == said
        assert b"accept-encoding: identity\r\n" in up.requests[0]
        kept = plane.only_record()
        assert kept.ended == ("ok", True, 200, None)
        assert kept.response == said


def test_an_error_inside_a_200_is_no_answer(tmp_path: Path) -> None:
    error = {"message": "busy", "type": "t", "param": None, "code": 503}
    script = [request, response(json.dumps({"error": error}).encode())] * 3
    with serving(tmp_path, script) as (_, plane):
        answer = ask(plane)
        assert (answer.status, answer.json) == (503, {"error": error})
        assert plane.only_record().record.status == "error"


def test_a_null_error_is_none(tmp_path: Path) -> None:
    said = completion(error=None)
    with serving(tmp_path, [request, response(said)]) as (_, plane):
        assert ask(plane).body == said


def test_an_error_body_without_end_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "ERROR_BYTES_MAX", 10_000)
    said = response(b"x" * 50_000, status="400 X")
    with serving(tmp_path, [request, said] * 3) as (_, plane):
        assert ask(plane).code == UPSTREAM_ERROR


@pytest.mark.timed
def test_a_backend_that_forgets_to_end_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[DONE] ends the answer; its connection gets a moment to end as well."""
    monkeypatch.setattr(attempt, "DRAIN_S", 0.1)
    script = [request, chunked_head(), chunk(EVENTS + DONE), until_closed]
    with serving(tmp_path, script) as (up, plane):
        started_s = time.monotonic()
        assert ask(plane, STREAMED).is_whole
        assert time.monotonic() - started_s < 0.5
        assert up.wait_until_finished().closed_how is not None
        assert plane.only_record().ended == ("ok", True, 200, None)


def test_an_end_shortly_behind_done_keeps_the_connection(tmp_path: Path) -> None:
    script = [request, chunked_head(), chunk(EVENTS + DONE), stall(0.05), LAST_CHUNK]
    with serving(tmp_path, [*script, request, whole_answer()]) as (up, plane):
        assert ask(plane, STREAMED).is_whole
        time.sleep(0.1)
        assert ask(plane).status == 200
        assert len(up.connections) == 1


def test_a_held_stream_that_grows_too_large_goes_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "HELD_BYTES_MAX", 10_000)
    events = [event("x" * 1000) for _ in range(20)] + [event(finish="stop"), DONE]
    route = "confidence: {from: [schema], accept: 0.5}, hold: all"
    with serving(tmp_path, [request, stream_answer(*events)], route=route) as (_, plane):
        answer = ask(plane, STREAMED)
        assert (answer.is_whole, answer.body) == (True, b"".join(events))
        assert plane.only_record().response == answer.body


def test_how_each_call_went_is_recorded(tmp_path: Path) -> None:
    script = [request, error_answer("503 X"), request, stall(0.05), whole_answer()]
    with serving(tmp_path, script) as (_, plane):
        ask(plane)
        first, second = plane.only_record().record.attempts
    assert (first.kind, first.http_status, first.error_type, first.won) == (
        "primary", 503, "status", False,
    )  # fmt: skip
    assert b"said by the backend" in (first.body or b"")
    assert (second.kind, second.http_status, second.error_type, second.won) == (
        "retry", 200, None, True,
    )  # fmt: skip
    assert second.body is None
    assert second.start_us >= first.start_us + first.total_us
    assert second.total_us >= 50_000
    assert second.first_byte_us is not None
    assert (second.usage.prompt, second.usage.completion) == (3, 5)
    assert second.cost_usd == pytest.approx((3 + 5 * 2) / 1e6)
    assert second.served_at_once == 1
