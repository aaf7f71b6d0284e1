"""What headers pass, both ways, and what an answer's head says."""

import re
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from proxy.heads import RequestHead, chunk, header_lines, response_head
from tests.support.plane import (
    ASKED,
    DONE,
    EVENTS,
    STREAMED,
    Plane,
    ask,
    config,
    serving,
    stream_answer,
    whole_answer,
)
from tests.support.raw_client import post
from tests.support.scripted import ScriptedUpstream, request

SENT = {
    "Accept": "application/json",
    "OpenAI-Beta": "assistants=v2",
    "X-Stainless-Retry-Count": "1",
    "X-Stainless-Lang": "python",
    "Idempotency-Key": "idem-1",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}
NEVER_SENT = {
    "Authorization": "Bearer client-secret",
    "Cookie": "session=client-secret",
    "api-key": "client-secret",
    "OpenAI-Organization": "client-secret",
    "OpenAI-Project": "client-secret",
    "baggage": "client-secret",
    "X-Forwarded-For": "client-secret",
    "X-Forwarded-Host": "client-secret",
    "Forwarded": "for=client-secret",
    "X-Original-URL": "/client-secret",
    "x-portkey-custom-host": "client-secret",
    "X-Request-Id": "client-secret",
    "User-Agent": "client-secret",
    "Accept-Encoding": "gzip",
    "Accept-Language": "client-secret",
    "Proxy-Authorization": "Basic client-secret",
    "TE": "trailers",
    "Keep-Alive": "timeout=client-secret",
    "Via": "client-secret",
    "x-pointsman-conversation": "client-secret",
    "x-pointsman-label-a": "client-secret",
    "x-api-key": "client-secret",
}


def lines_of(sent: bytes) -> dict[str, str]:
    """A request's headers; each must occur once."""
    found: dict[str, str] = {}
    for line in sent.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]:
        name, _, value = line.partition(": ")
        assert name.lower() not in found, line
        found[name.lower()] = value
    return found


def test_only_what_is_allowed_reaches_the_backend(tmp_path: Path) -> None:
    headers = [f"{name}: {value}" for name, value in {**SENT, **NEVER_SENT}.items()]
    with ScriptedUpstream([request, whole_answer()]) as up:
        declared = f"adapter: openai, base_url: '{up.base_url}', api_key: {{env: OURS}}"
        text = config("  default: {candidates: [a]}", a=declared)
        with Plane(tmp_path, text, environment={"OURS": "our-key"}) as plane:
            assert ask(plane, ASKED, *headers).status == 200
    (sent,) = up.requests
    found = lines_of(sent)
    for name, value in SENT.items():
        assert found.pop(name.lower()) == value
    assert found.pop("authorization") == "Bearer our-key"
    assert found.pop("host") == f"127.0.0.1:{up.port}"
    assert found.pop("accept-encoding") == "identity"
    assert found.pop("user-agent").startswith("pointsman/")
    assert found.pop("content-type") == "application/json"
    assert int(found.pop("content-length")) > 0
    assert found == {}
    assert b"client-secret" not in sent


def test_without_a_key_of_ours_no_authorization_is_sent(tmp_path: Path) -> None:
    with serving(tmp_path, [request, whole_answer()]) as (up, plane):
        ask(plane, ASKED, "Authorization: Bearer client-secret")
    assert "authorization" not in lines_of(up.requests[0])


def test_what_connection_names_is_not_passed_on(tmp_path: Path) -> None:
    headers = ("Connection: keep-alive, X-Stainless-Lang", "X-Stainless-Lang: a", "OpenAI-Beta: b")
    with serving(tmp_path, [request, whole_answer()]) as (up, plane):
        ask(plane, ASKED, *headers)
    found = lines_of(up.requests[0])
    assert "x-stainless-lang" not in found
    assert "connection" not in found
    assert found["openai-beta"] == "b"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:1", "x@y", ""])
def test_an_odd_host_chooses_no_backend(tmp_path: Path, host: str) -> None:
    with serving(tmp_path, [request, whole_answer()]) as (up, plane), plane.client() as client:
        answer = client.send(post(ASKED).replace(b"Host: x", b"Host: " + host.encode())).read()
        assert answer.status == 200
    assert lines_of(up.requests[0])["host"] == f"127.0.0.1:{up.port}"


def test_the_path_is_ours_and_the_query_the_clients(tmp_path: Path) -> None:
    with serving(tmp_path, [request, whole_answer()]) as (up, plane), plane.client() as client:
        assert client.ask(ASKED, path="/v1/chat/completions?a=b&c=%20").status == 200
    assert up.requests[0].startswith(b"POST /v1/chat/completions?a=b&c=%20 HTTP/1.1\r\n")


KEPT = (
    "x-request-id: req_theirs", "openai-processing-ms: 12", "openai-version: 2020-10-01",
    "openai-model: m", "x-ratelimit-limit-requests: 1", "x-ratelimit-reset-tokens: 6m0s",
    "retry-after: 3", "retry-after-ms: 3000", "x-should-retry: true",
)  # fmt: skip
DROPPED = (
    "set-cookie: a=secret", "server: secret", "openai-organization: secret",
    "openai-project: secret", "cf-ray: secret", "cf-cache-status: secret", "alt-svc: secret",
    "via: secret", "keep-alive: timeout=5", "connection: keep-alive", "x-secret: secret",
    "trailer: secret", "access-control-allow-origin: *", "strict-transport-security: secret",
    "date: Mon, 01 Jan 2001 00:00:00 GMT", "x-pointsman-backend: secret", "location: secret",
)  # fmt: skip


@pytest.mark.parametrize("is_stream", [False, True])
def test_only_what_is_allowed_reaches_the_client(tmp_path: Path, is_stream: bool) -> None:
    said = stream_answer(EVENTS, DONE) if is_stream else whole_answer()
    extra = "\r\n".join((*KEPT, *DROPPED, "")).encode()
    said = said.replace(b"content-type", extra + b"content-type", 1)
    with serving(tmp_path, [request, said]) as (_, plane):
        answer = ask(plane, STREAMED if is_stream else ASKED)
    assert answer.status == 200
    for header in KEPT:
        name, _, value = header.partition(": ")
        assert answer.header(name) == value
    assert not any("secret" in value for _, value in answer.headers)
    ours = {"date", "content-type", "content-length", "transfer-encoding", "cache-control"}
    ours |= {"x-accel-buffering"} | {header.partition(":")[0] for header in KEPT}
    rest = {name for name, _ in answer.headers} - ours
    assert all(name.startswith("x-pointsman-") for name in rest)
    assert answer.header("x-pointsman-backend") == "a"
    assert (answer.header("date") or "")[-3:] == "GMT"
    assert parsedate_to_datetime(answer.header("date") or "").year >= 2024


def test_ours_say_what_was_decided(tmp_path: Path) -> None:
    with serving(tmp_path, [request, whole_answer()]) as (_, plane):
        answer = ask(plane)
        record = plane.only_record().record
    assert answer.header("x-pointsman-route") == record.route == "default"
    assert answer.header("x-pointsman-backend") == record.backend == "a"
    assert answer.header("x-pointsman-decision-id") == record.id
    assert answer.header("x-pointsman-policy") == record.policy
    assert answer.header("x-pointsman-attempts") == "1"
    assert answer.header("x-pointsman-edited") == record.edited == "model"
    assert answer.header("x-pointsman-confidence") is None
    assert float(answer.header("x-pointsman-cost-usd") or 0) == pytest.approx(record.cost_usd)
    overhead_us = int(answer.header("x-pointsman-overhead-us") or -1)
    assert 0 < overhead_us < 50_000
    assert abs(overhead_us - (record.overhead_us or 0)) < 1000
    assert answer.header("x-request-id") == f"req_{record.id.replace('-', '')}"


def test_errors_say_what_was_decided_too(tmp_path: Path) -> None:
    text = config("  default: {candidates: [a]}", a="http://127.0.0.1:1/v1")
    with Plane(tmp_path, text) as plane:
        answer = ask(plane)
    assert answer.status == 503
    for name in ("route", "backend", "decision-id", "policy", "attempts", "overhead-us"):
        assert answer.header(f"x-pointsman-{name}"), name
    assert re.fullmatch(r"req_[0-9a-f]{32}", answer.header("x-request-id") or "")


def test_a_backend_that_is_simulated_says_so(tmp_path: Path) -> None:
    text = config("  default: {candidates: [a]}", a="adapter: simulated, profile: {speed: instant}")
    with Plane(tmp_path, text) as plane:
        assert ask(plane).header("x-pointsman-simulated") == "true"
        assert plane.only_record().record.is_simulated


# -- the pieces -----------------------------------------------------------------------------------


def head(*headers: tuple[bytes, bytes], is_http_10: bool = False) -> RequestHead:
    return RequestHead(b"POST", b"/a?b=c?d", list(headers), is_http_10=is_http_10, keeps_alive=True)


def test_a_head_is_taken_apart() -> None:
    found = head(
        (b"a", b"1"), (b"a", b"2"), (b"x-pointsman-label-task", b"t"),
        (b"connection", b"Keep-Alive, X-A"), (b"connection", b"x-b"),
    )  # fmt: skip
    assert (found.path, found.query) == (b"/a", b"?b=c?d")
    assert found.fields[b"a"] == b"1"
    assert found.labels() == {"task": "t"}
    assert found.connection_named == {b"keep-alive", b"x-a", b"x-b"}


def test_a_label_that_is_no_utf8_is_still_text() -> None:
    assert head((b"x-pointsman-label-a", b"\xff")).labels() == {"a": "\ufffd"}


@pytest.mark.parametrize(
    ("length", "is_http_10", "closes", "framing"),
    [
        (5, False, False, b"content-length: 5\r\n"),
        (None, False, False, b"transfer-encoding: chunked\r\n"),
        (None, True, True, b"connection: close\r\n"),
        (5, True, False, b"content-length: 5\r\nconnection: keep-alive\r\n"),
        (0, False, True, b"content-length: 0\r\nconnection: close\r\n"),
    ],
)
def test_an_answers_head_marks_its_end(
    length: int | None, is_http_10: bool, closes: bool, framing: bytes
) -> None:
    got = response_head(
        529, header_lines([(b"a", b"b")]), date=b"D", length=length,
        head=head(is_http_10=is_http_10), closes=closes,
    )  # fmt: skip
    assert got == b"HTTP/1.1 529 \r\ndate: D\r\na: b\r\n" + framing + b"\r\n"


def test_a_chunk_carries_its_size() -> None:
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
