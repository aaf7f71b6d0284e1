"""Requests that pass through, over real sockets: both bodies, their ends, and what goes wrong."""

import hashlib
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy import downstream
from proxy.keys import create_key
from tests.support.certificates import make_certificates
from tests.support.plane import Plane, config, one_backend, serving
from tests.support.raw_client import Answer, RawClient, get, post
from tests.support.scripted import (
    LAST_CHUNK,
    Connection,
    Script,
    ScriptedUpstream,
    Step,
    chunk,
    chunked_head,
    fin,
    reset,
    response,
    stall,
    until_closed,
)

RULES = 'passthrough: [{path: "/v1/files*", backend: a}, {path: /v1/moderations, backend: a}]'
FILES = "/v1/files"
MULTIPART = (
    b'--xyz\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nassistants\r\n'
    b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
    + bytes(range(256))
    + b"\r\n--xyz--\r\n"
)
FORM = "Content-Type: multipart/form-data; boundary=xyz"


@contextmanager
def passing(
    directory: Path, *scripts: Script, route: str = ""
) -> Iterator[tuple[ScriptedUpstream, Plane]]:
    with serving(directory, *scripts, top=RULES, route=route) as (up, plane):
        yield up, plane


def asked(method: str, target: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: x", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def take(connection: Connection) -> None:
    """Read a whole request."""
    connection.read_request()


def take_chunks(connection: Connection) -> None:
    """Read until the end of a chunked body."""
    while not connection.received.endswith(LAST_CHUNK):
        connection.stall(0.01)


def deaf(connection: Connection) -> None:
    """Read nothing for a while."""
    time.sleep(1.5)


def parts(raw: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    """First line, headers and body."""
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    return first, dict(line.split(b": ", 1) for line in lines), body


def ask(plane: Plane, raw: bytes) -> Answer:
    with plane.client() as client:
        return client.send(raw).read()


# -- a reload ------------------------------------------------------------------------------------


def test_a_head_seen_before_a_reload_is_served_as_the_new_rules_say(tmp_path: Path) -> None:
    raw = asked("POST", "/v1/new", "content-type: text/plain", body=b"abc")
    with passing(tmp_path, [take, response(b"{}")]) as (up, plane), plane.client() as client:
        for _ in range(2):
            assert client.send(raw).read().status == 404
        plane.reconfigure(one_backend(up.base_url, top=RULES.replace("moderations", "new")))
        assert client.send(raw).read().status == 200
        assert parts(up.connections[0].requests[0])[2] == b"abc"


# -- both ways ------------------------------------------------------------------------------------


def test_a_form_passes_with_its_bytes_its_query_and_no_key(tmp_path: Path) -> None:
    said = b'{"id":"file-1" , "odd":1E2}'
    raw = asked("POST", f"{FILES}?a=b%20c", FORM, "Authorization: Bearer mine", "Cookie: c",
                "x-pointsman-label-team: x", body=MULTIPART)  # fmt: skip
    with passing(tmp_path, [take, response(said, "x-request-id: req_1")]) as (up, plane):
        answer = ask(plane, raw)
        assert (answer.status, answer.body) == (200, said)
        assert answer.header("x-request-id") == "req_1"
        assert answer.header("x-pointsman-backend") == "a"
        assert answer.header("x-pointsman-attempts") == "1"
        kept = plane.only_record()
        record = kept.record
        assert answer.header("x-pointsman-decision-id") == record.id
        assert kept.ended == ("ok", True, 200, None)
        assert (record.api, record.backend, record.route) == ("passthrough", "a", None)
        assert (record.capture, record.request, record.response) == ("metadata", None, None)
        assert record.request_sha256 == hashlib.sha256(MULTIPART).digest()
        assert record.request_bytes == len(MULTIPART)
        assert record.response_sha256 == hashlib.sha256(said).digest()
        assert record.labels == {"team": "x"}
        assert kept.tried == [("primary", "a", None)]
        assert record.attempts[0].model is None  # none was asked for by its name
    first, headers, body = parts(up.requests[0])
    assert first == b"POST /v1/files?a=b%20c HTTP/1.1"
    assert body == MULTIPART
    assert headers[b"content-type"] == b"multipart/form-data; boundary=xyz"
    assert headers[b"content-length"] == str(len(MULTIPART)).encode()
    assert b"authorization" not in headers
    assert b"cookie" not in headers


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PATCH", "POST", "OPTIONS"])
def test_any_method_passes_without_a_body(tmp_path: Path, method: str) -> None:
    with passing(tmp_path, [take, response(b"{}")]) as (up, plane):
        assert ask(plane, asked(method, f"{FILES}/f-1")).status == 200
        assert plane.only_record().record.request_bytes == 0
    first, headers, body = parts(up.requests[0])
    assert first == f"{method} /v1/files/f-1 HTTP/1.1".encode()
    assert headers.get(b"content-length", b"0") == b"0"
    assert (b"content-length" in headers) == (method in ("PUT", "PATCH", "POST"))
    assert body == b""


def test_a_head_is_answered_by_its_head_alone(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\n"
    scripts: list[Script] = [[take, head], [take, response(b"{}")]]
    with passing(tmp_path, *scripts) as (_, plane), plane.client() as client:
        answer = client.send(asked("HEAD", FILES)).read(has_body=False)
        assert (answer.status, answer.header("content-length")) == (200, "5")
        assert client.send(asked("GET", FILES)).read().status == 200


def test_chunks_of_a_body_pass_as_chunks(tmp_path: Path) -> None:
    raw = asked("POST", FILES, FORM, "Transfer-Encoding: chunked")
    script: Script = [take_chunks, response(b"{}")]
    with passing(tmp_path, script) as (up, plane), plane.client() as client:
        client.send(raw + chunk(b"one"))
        time.sleep(0.1)
        client.send(chunk(b"two"))
        time.sleep(0.1)
        client.send(LAST_CHUNK)
        assert client.read().status == 200
        assert plane.only_record().record.request_bytes == 6
        _, headers, body = parts(bytes(up.connections[0].received))
        assert client.send(asked("GET", "/v1/other")).read().status == 404  # still in order
    assert headers[b"transfer-encoding"] == b"chunked"
    assert body == chunk(b"one") + chunk(b"two") + LAST_CHUNK


def test_a_body_is_asked_for_once_the_backend_may_have_it(tmp_path: Path) -> None:
    raw = asked("POST", FILES, FORM, "Expect: 100-continue", "Content-Length: 3")
    with passing(tmp_path, [take, response(b"{}")]) as (up, plane), plane.client() as client:
        assert client.send(raw).read_head().status == 100
        assert client.send(b"abc").read().status == 200
    assert b"expect" not in up.requests[0].lower()


def test_a_body_that_is_refused_is_not_asked_for(tmp_path: Path) -> None:
    raw = asked("POST", FILES, "Expect: 100-continue", "Content-Length: 3",
                "Content-Encoding: gzip")  # fmt: skip
    with passing(tmp_path) as (_, plane), plane.client() as client:
        answer = client.send(raw).read()
        assert answer.code == (415, "invalid_request_error", "unsupported_encoding")
        assert answer.header("connection") == "close"
        assert client.is_closed()


def test_a_body_over_the_limit_for_held_ones_passes(tmp_path: Path) -> None:
    body = b"x" * 3_000_000
    top = f"{RULES}\nlimits: {{body: 1KiB}}"
    with serving(tmp_path, [take, response(b"{}")], top=top) as (up, plane):
        assert ask(plane, asked("POST", FILES, body=body)).status == 200
    assert parts(up.requests[0])[2] == body


def test_an_old_client_is_served(tmp_path: Path) -> None:
    raw = asked("POST", FILES, body=b"abc").replace(b"HTTP/1.1", b"HTTP/1.0")
    said = chunked_head(content_type="text/plain") + chunk(b"said") + LAST_CHUNK
    with passing(tmp_path, [take, said[:-5], stall(0.1), LAST_CHUNK]) as (_, plane):
        answer = ask(plane, raw)
        assert (answer.framing, answer.body) == ("close", b"said")


def test_requests_behind_one_that_passes_wait_their_turn(tmp_path: Path) -> None:
    scripts: list[Script] = [
        [take, stall(0.1), response(b"one")],
        [take, response(b"two"), take, response(b"three")],  # what is streamed has a new one
    ]
    with passing(tmp_path, *scripts) as (up, plane), plane.client() as client:
        client.send(
            asked("POST", f"{FILES}/1", body=b"a")
            + asked("POST", f"{FILES}/2", body=b"b" * 300_000)
            + asked("GET", f"{FILES}/3")
        )
        assert [client.read().body for _ in range(3)] == [b"one", b"two", b"three"]
    assert [parts(one)[0].split(b" ")[1] for one in up.requests] == [
        b"/v1/files/1", b"/v1/files/2", b"/v1/files/3",
    ]  # fmt: skip


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_an_answer_without_a_body_has_no_length(tmp_path: Path, status: str) -> None:
    said = f"HTTP/1.1 {status}\r\nx-request-id: r\r\n\r\n".encode()
    with passing(tmp_path, [take, said, take, said]) as (_, plane), plane.client() as client:
        for _ in range(2):
            answer = client.send(asked("DELETE", FILES)).read()
            assert answer.status == int(status[:3])
            assert answer.header("content-length") is None
            assert answer.header("transfer-encoding") is None


@pytest.mark.timed
def test_a_download_keeps_its_length_its_name_and_its_pace(tmp_path: Path) -> None:
    head = response(b"", "content-disposition: attachment; filename=a", "set-cookie: no",
                    content_type="application/octet-stream")  # fmt: skip
    head = head.replace(b"content-length: 0", b"content-length: 8")
    with passing(tmp_path, [take, head + b"half", stall(0.2), b"rest"]) as (_, plane):
        with plane.client() as client:
            started_s = time.monotonic()
            answer = client.send(asked("GET", f"{FILES}/f/content")).read_head()
            assert time.monotonic() - started_s < 0.15
            assert answer.header("content-length") == "8"
            assert answer.header("content-disposition") == "attachment; filename=a"
            assert answer.header("set-cookie") is None
            assert client._take(8) == b"halfrest"
        assert plane.only_record().ended == ("ok", True, 200, None)


@pytest.mark.timed
def test_events_pass_at_once(tmp_path: Path) -> None:
    script = [take, chunked_head() + chunk(b"event: a\ndata: 1\n\n"), stall(0.3), LAST_CHUNK]
    with passing(tmp_path, script) as (_, plane), plane.client() as client:
        answer = client.send(asked("GET", FILES)).read_head()
        started_s = time.monotonic()
        assert client.read_chunk(answer)
        assert time.monotonic() - started_s < 0.2
        assert answer.body == b"event: a\ndata: 1\n\n"


@pytest.mark.parametrize("pause_s", [0.0, 0.1], ids=["at once", "in two"])
def test_the_last_bytes_do_not_go_before_the_record(tmp_path: Path, pause_s: float) -> None:
    held: list[Callable[[], object]] = []
    script: Script = [take, response(b"abcd")[:-2], stall(pause_s), b"cd"]
    with passing(tmp_path, script) as (_, plane), plane.client() as client:
        journal = plane.data_plane.journal
        append = journal.append
        journal.append = lambda *sent: held.append(lambda: append(*sent))  # type: ignore[method-assign]
        client.send(asked("GET", FILES))
        plane.wait_until(lambda: held)
        client.socket.settimeout(0.1)
        received = b""
        with suppress(TimeoutError):
            while True:
                received += client.socket.recv(1000)
        assert not received.endswith(b"cd")
        plane.call(held[0])
        client.socket.settimeout(5)
        while not received.endswith(b"abcd"):
            received += client.socket.recv(1000)


# -- errors ---------------------------------------------------------------------------------------


def test_a_backends_refusal_passes_byte_for_byte(tmp_path: Path) -> None:
    said = b'{"error":{"message":"no such file"},"odd":1E2}'
    refusal = response(said, "retry-after: 7", status="429 Too Many")
    with passing(tmp_path, [take, refusal]) as (_, plane):
        answer = ask(plane, asked("GET", f"{FILES}/x"))
        assert (answer.status, answer.body, answer.header("retry-after")) == (429, said, "7")
        assert plane.only_record().ended == ("error", False, 429, "status")


FAILURES: dict[str, tuple[list[Step], tuple[int, str]]] = {
    "a page": ([response(b"<html>", status="502 Bad")], (502, "upstream_error")),
    "our key": ([response(b"{}", status="401 No")], (502, "upstream_auth")),
    "elsewhere": ([response(b"", "location: /x", status="302 Found")], (502, "upstream_error")),
    "reset": ([reset], (502, "upstream_error")),
    "no answer": ([fin], (502, "upstream_error")),
    "no HTTP": ([b"nonsense\r\n\r\n"], (502, "upstream_error")),
    "silence": ([until_closed], (504, "deadline_exceeded")),
}


@pytest.mark.parametrize(("steps", "expected"), FAILURES.values(), ids=FAILURES)
def test_a_failure_is_told_in_our_words_and_not_tried_again(
    tmp_path: Path, steps: list[Step], expected: tuple[int, str]
) -> None:
    route = "timeout: {first_token: 300ms}"
    with passing(tmp_path, [take, *steps], route=route) as (up, plane):
        answer = ask(plane, asked("POST", FILES, body=b"abc"))
        assert (answer.status, answer.error["code"]) == expected
        assert plane.only_record().record.status == "error"
        assert plane.count("in_flight") == 0
    assert len(up.requests) == 1


def test_a_backend_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    text = config("  default: {candidates: [a]}", top=RULES, a="http://127.0.0.1:1/v1")
    with Plane(tmp_path, text) as plane:
        answer = ask(plane, asked("POST", FILES, body=b"abc"))
        assert answer.code == (503, "server_error", "no_backend")


@pytest.mark.parametrize("rest", [[fin], [stall(0.05), reset], [b"nonsense"]])
def test_a_download_that_is_cut_does_not_end_cleanly(tmp_path: Path, rest: list[Step]) -> None:
    script: Script = [take, chunked_head(content_type="text/plain"), chunk(b"half"), stall(0.1)]
    with passing(tmp_path, [*script, *rest]) as (_, plane):
        answer = ask(plane, asked("GET", FILES))
        assert (answer.status, answer.body, answer.is_whole) == (200, b"half", False)
        assert plane.only_record().record.status == "upstream_cut"


def test_a_cut_answer_is_recorded_with_the_status_it_had(tmp_path: Path) -> None:
    said = response(b"half", status="201 Created").replace(
        b"content-length: 4", b"content-length: 9"
    )
    with passing(tmp_path, [take, said, fin]) as (_, plane):
        assert ask(plane, asked("POST", FILES, body=b"abc")).status == 201
        assert plane.only_record().ended == ("upstream_cut", False, 201, "cut")


def test_a_refusal_is_written_as_the_backends_clients_read_it(tmp_path: Path) -> None:
    claude = "adapter: anthropic, model: m, base_url: 'http://127.0.0.1:1'"
    rules = 'passthrough: [{path: "/v1/messages/batches*", backend: c}]'
    text = config("  default: {candidates: [c]}", top=rules, c=claude)
    with Plane(tmp_path, text) as plane:
        raw = asked("POST", "/v1/messages/batches", "Content-Encoding: gzip", body=b"abc")
        told = json.loads(ask(plane, raw).body)
        assert (told["type"], told["error"]["type"]) == ("error", "invalid_request_error")


def test_a_download_shorter_than_it_said_is_cut(tmp_path: Path) -> None:
    said = response(b"half").replace(b"content-length: 4", b"content-length: 9")
    with passing(tmp_path, [take, said, fin]) as (_, plane):
        answer = ask(plane, asked("GET", FILES))
        assert (answer.body, answer.is_whole) == (b"half", False)


def test_an_answer_before_the_body_is_whole_ends_the_upload(tmp_path: Path) -> None:
    def refuse_early(connection: Connection) -> None:
        connection.stall(0.1)
        connection.send(response(b'{"error":{}}', status="413 Too Large"))
        connection.stall(5)

    raw = asked("POST", FILES, "Content-Length: 50000000") + b"x" * 100_000
    scripts: list[Script] = [[refuse_early], [take, response(b"{}")]]
    with passing(tmp_path, *scripts) as (up, plane), plane.client() as client:
        answer = client.send(raw).read()
        assert ask(plane, asked("GET", FILES)).status == 200  # on a connection of its own
        assert (answer.status, answer.header("connection")) == (413, "close")
        assert client.is_closed()
        first, _ = plane.wait_for_records(2)
        assert first.ended == ("error", False, 413, "status")
        assert up.wait_until_finished().closed_at is not None


def test_a_broken_body_ends_the_upload(tmp_path: Path) -> None:
    raw = asked("POST", FILES, "Transfer-Encoding: chunked") + chunk(b"x" * 200_000)
    with passing(tmp_path, [until_closed]) as (up, plane), plane.client() as client:
        client.send(raw)
        up.wait_for_connection()
        client.send(b"zz\r\n")
        assert client.read().code == (400, "invalid_request_error", "bad_request")
        assert up.wait_until_finished().closed_at is not None
        assert plane.only_record().record.status == "error"


@pytest.mark.parametrize("is_answering", [False, True])
def test_a_client_that_goes_ends_the_backends_work(tmp_path: Path, is_answering: bool) -> None:
    begun = chunked_head(content_type="text/plain") + chunk(b"x") if is_answering else b""
    script: Script = [take, begun or stall(0), until_closed]
    with passing(tmp_path, script) as (up, plane):
        with plane.client() as client:
            client.send(asked("GET", FILES))
            up.wait_for_connection()
            if is_answering:
                client.read_head()
            time.sleep(0.1)
        gone_s = time.monotonic()
        connection = up.wait_until_finished()
        assert connection.closed_at is not None
        assert connection.closed_at - gone_s < 0.5
        assert plane.only_record().record.status == "client_gone"
        assert plane.count("in_flight") == 0


def test_a_client_that_goes_within_its_body_is_told_upstream(tmp_path: Path) -> None:
    with passing(tmp_path, [until_closed]) as (up, plane):
        with plane.client() as client:
            client.send(asked("POST", FILES, "Content-Length: 1000000") + b"x" * 1000)
            up.wait_for_connection()
            time.sleep(0.1)
        assert up.wait_until_finished().closed_at is not None
        record = plane.only_record().record
        assert (record.status, record.request_bytes) == ("client_gone", 1000)


def test_a_body_that_stops_coming_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(downstream.TIMEOUTS_S, "body", 0.3)
    with passing(tmp_path, [until_closed]) as (up, plane), plane.client() as client:
        client.send(asked("POST", FILES, "Content-Length: 1000000") + b"x" * 1000)
        assert client.read().code == (408, "invalid_request_error", "request_timeout")
        assert up.wait_until_finished().closed_at is not None


def test_a_backend_that_takes_no_body_is_not_waited_for(tmp_path: Path) -> None:
    route = "timeout: {idle: 300ms}"
    with passing(tmp_path, [deaf], route=route) as (_, plane), plane.client() as client:
        sending = threading.Thread(target=_send_quietly, args=(client, 30_000_000))
        sending.start()
        answer = client.read()
        assert answer.code[::2] == (504, "deadline_exceeded")
        sending.join(5)


def _send_quietly(client: RawClient, size: int) -> None:
    with suppress(OSError):
        client.socket.sendall(asked("POST", FILES, f"Content-Length: {size}") + b"x" * size)


def test_a_client_may_shorten_the_time(tmp_path: Path) -> None:
    with passing(tmp_path, [until_closed]) as (_, plane):
        started_s = time.monotonic()
        answer = ask(plane, asked("GET", FILES, "x-pointsman-deadline-ms: 200"))
        assert answer.code[::2] == (504, "deadline_exceeded")
        assert time.monotonic() - started_s < 2


@pytest.mark.parametrize(("level", "is_known"), [("off", False), ("metadata", True)])
def test_a_client_may_have_less_kept(tmp_path: Path, level: str, is_known: bool) -> None:
    raw = asked("POST", FILES, f"x-pointsman-capture: {level}", body=b"abc")
    with passing(tmp_path, [take, response(b"{}")]) as (_, plane):
        assert ask(plane, raw).status == 200
        record = plane.only_record().record
        assert record.capture == level
        assert (record.request_sha256 is not None) == is_known
        assert (record.response_bytes is not None) == is_known


def test_an_upload_over_tls_is_held_back_and_arrives_whole(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    files = f"certificate: '{certificates.certificate_file}', key: '{certificates.key_file}'"
    body = bytes(range(256)) * 20_000
    with ScriptedUpstream([deaf, take, response(b"{}")]) as up:
        text = config("  default: {candidates: [a]}", top=RULES, a=up.base_url)
        listen = f"listen: {{address: '127.0.0.1:0', tls: {{{files}}}}}"
        text = text.replace("listen: 127.0.0.1:0", listen)
        trusting = ssl.create_default_context(cafile=str(certificates.ca_file))
        with Plane(tmp_path, text) as plane, RawClient(plane.port, tls=trusting) as client:
            client.send(asked("POST", FILES, body=body))
            assert client.read().status == 200
    assert parts(up.requests[0])[2] == body


# -- what is not served ---------------------------------------------------------------------------


def test_what_is_not_listed_is_not_passed(tmp_path: Path) -> None:
    with passing(tmp_path) as (up, plane), plane.client() as client:
        for target in ("/v1/batches", "/v1/files/../batches", "/v1/files/%2e%2e/x", "/v2/files"):
            assert client.send(asked("GET", target)).read().code[::2] == (404, "unknown_url")
        assert client.send(asked("POST", "/v1/batches")).read().code[::2] == (404, "unknown_url")
        answer = client.send(asked("PUT", "/v1/responses/r")).read()
        assert answer.code[::2] == (405, "method_not_supported")
        assert answer.header("allow") == "GET, DELETE"
    assert not up.connections


def test_an_upgrade_to_websockets_is_refused_clearly(tmp_path: Path) -> None:
    raw = asked("GET", "/v1/responses", "Connection: Upgrade", "Upgrade: websocket")
    with passing(tmp_path) as (_, plane):
        answer = ask(plane, raw)
        assert answer.code == (405, "invalid_request_error", "method_not_supported")
        assert answer.header("allow") == "POST"
        assert ask(plane, raw.replace(b"responses", b"realtime")).code[::2] == (404, "unknown_url")


# -- responses by their id ------------------------------------------------------------------------


def test_calls_by_id_go_to_the_backend_that_made_it(tmp_path: Path) -> None:
    made = response(json.dumps({"id": "resp_b", "status": "queued", "output": []}).encode())
    script_b = [take, made, *[take, response(b'{"id":"resp_b"}')] * 4]
    with (
        ScriptedUpstream([take, response(b'{"id":"other"}')]) as a,
        ScriptedUpstream(script_b) as b,
        Plane(tmp_path, config("  default: {candidates: [a]}\n  r: {candidates: [b]}",
                               a=a.base_url, b=b.base_url)) as plane,
        plane.client() as client,
    ):  # fmt: skip
        assert client.ask({"model": "r"}, path="/v1/responses").status == 200
        for raw in (
            get("/v1/responses/resp_b?include[]=x"),
            get("/v1/responses/resp_b/input_items"),
            post(b"", path="/v1/responses/resp_b/cancel"),
            asked("DELETE", "/v1/responses/resp_b"),
        ):
            answer = client.send(raw).read()
            assert (answer.status, answer.header("x-pointsman-backend")) == (200, "b")
        answer = client.send(get("/v1/responses/resp_unknown")).read()
        assert (answer.json, answer.header("x-pointsman-backend")) == ({"id": "other"}, "a")
        records = [kept.record for kept in plane.wait_for_records(6)]
    assert {record.api for record in records} == {"responses"}
    assert parts(b.requests[1])[0] == b"GET /v1/responses/resp_b?include[]=x HTTP/1.1"
    assert [parts(one)[0].split(b" ")[1] for one in b.requests[2:]] == [
        b"/v1/responses/resp_b/input_items",
        b"/v1/responses/resp_b/cancel",
        b"/v1/responses/resp_b",
    ]


def test_a_response_of_another_caller_is_nowhere(tmp_path: Path) -> None:
    """All callers use our one key upstream: the backend cannot tell them apart."""
    now = datetime.now(UTC)
    keys = [create_key(tmp_path / "keys.yaml", caller=name, now=now)[1] for name in ("one", "two")]
    one, two = (f"Authorization: Bearer {key}" for key in keys)
    made = response(json.dumps({"id": "resp_a", "status": "completed", "output": []}).encode())
    with (
        ScriptedUpstream([take, made] * 2) as up,
        Plane(tmp_path, one_backend(up.base_url, top="keys: {file: keys.yaml}")) as plane,
        plane.client() as client,
    ):
        asked_first = {"model": "auto", "input": "my secret"}
        assert client.ask(asked_first, one, path="/v1/responses").status == 200
        for raw in (
            get("/v1/responses/resp_a", two),
            get("/v1/responses/resp_a/input_items", two),
            asked("DELETE", "/v1/responses/resp_a", two),
        ):
            answer = client.send(raw).read()
            assert answer.code == (404, "invalid_request_error", "response_not_found")
        following = {"model": "auto", "input": "repeat it", "previous_response_id": "resp_a"}
        answer = client.ask(following, two, path="/v1/responses")
        assert answer.code == (400, "invalid_request_error", "previous_response_not_found")
        assert len(up.requests) == 1
        assert client.ask(following, one, path="/v1/responses").status == 200
        records = [kept.record for kept in plane.wait_for_records(6)]
    assert [record.status for record in records] == ["ok", *["refused"] * 4, "ok"]
