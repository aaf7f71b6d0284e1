"""What a client is told of a backend's failure: its own words where it can read them, else ours."""

import json
import socket
from pathlib import Path

import pytest

from tests.support.certificates import make_certificates
from tests.support.plane import ASKED, Plane, ask, config, error_answer, serving
from tests.support.raw_client import post
from tests.support.scripted import ScriptedUpstream, request, response, until_closed

ODD_BODY = b'{ "error" : {"message":"caf\\u00e9","code":7,"more":[1.0e0]} }\n'


@pytest.mark.parametrize("status", ["400 Bad Request", "403 X", "404 X", "413 X", "422 X", "451 X"])
@pytest.mark.parametrize("body", [ODD_BODY, b"<html>no</html>", b""], ids=["json", "html", "none"])
def test_a_refusal_passes_byte_for_byte_after_one_attempt(
    tmp_path: Path, status: str, body: bytes
) -> None:
    said = response(
        body, "x-request-id: req_1", status=status, content_type="application/json; x=y"
    )
    with serving(tmp_path, [request, said]) as (up, plane):
        answer = ask(plane)
        assert (answer.status, answer.body) == (int(status[:3]), body)
        assert answer.header("content-type") == "application/json; x=y"
        assert answer.header("x-request-id") == "req_1"
        assert answer.header("x-should-retry") is None
        assert answer.header("x-pointsman-backend") == "a"
        assert len(up.requests) == 1
        kept = plane.only_record()
        assert kept.ended == ("error", False, int(status[:3]), "status")
        assert kept.response == body


def test_our_own_credential_being_refused_is_not_the_clients_fault(tmp_path: Path) -> None:
    with serving(tmp_path, [request, error_answer("401 X", code="invalid_api_key")]) as (up, plane):
        answer = ask(plane)
        assert answer.code == (502, "server_error", "upstream_auth")
        assert answer.header("x-should-retry") == "false"
        assert b"said by the backend" not in answer.body
        assert len(up.requests) == 1
        assert plane.count("errors_total", type="upstream_auth") == 1


def test_a_rate_limit_passes_with_its_headers(tmp_path: Path) -> None:
    headers = (
        "retry-after: 400", "retry-after-ms: 400000", "x-ratelimit-limit-requests: 5",
        "x-ratelimit-remaining-tokens: 0", "x-ratelimit-reset-tokens: 6m0s",
    )  # fmt: skip
    with serving(tmp_path, [request, error_answer("429 X", *headers)]) as (_, plane):
        answer = ask(plane)
        assert answer.status == 429
        assert answer.error["message"] == "said by the backend"
        for header in headers:
            name, _, value = header.partition(": ")
            assert answer.header(name) == value


def test_a_spent_quota_is_not_tried_again(tmp_path: Path) -> None:
    said = error_answer("429 X", code="insufficient_quota", type="insufficient_quota")
    with serving(tmp_path, [request, said] * 3) as (up, plane):
        answer = ask(plane)
        assert (answer.status, answer.header("x-should-retry")) == (429, "false")
        assert len(up.requests) == 1


@pytest.mark.parametrize(
    ("status", "word", "told", "tries"),
    [
        ("500 X", "false", "false", 1),
        ("500 X", "true", "false", 3),  # it was: by us
        ("400 X", "true", "true", 1),
    ],
)
def test_the_backends_own_word_on_retrying_passes_unless_we_have_retried(
    tmp_path: Path, status: str, word: str, told: str, tries: int
) -> None:
    said = error_answer(status, f"x-should-retry: {word}")
    with serving(tmp_path, [request, said] * 3) as (up, plane):
        assert ask(plane).header("x-should-retry") == told
        assert len(up.requests) == tries


@pytest.mark.parametrize("status", ["500 X", "503 X", "529 X"])
def test_a_server_error_passes_where_it_has_the_shape_of_one(tmp_path: Path, status: str) -> None:
    said = response(ODD_BODY, status=status)
    with serving(tmp_path, [request, said] * 3) as (_, plane):
        answer = ask(plane)
        assert (answer.status, answer.body) == (int(status[:3]), ODD_BODY)
        assert answer.header("x-should-retry") == "false"


@pytest.mark.parametrize(
    "body", [b"", b"oops", b"{}", b'{"error":"text"}', b'{"error":null}', b"[]"]
)
def test_a_server_error_of_another_shape_is_told_in_our_words(tmp_path: Path, body: bytes) -> None:
    said = response(body, status="500 X")
    with serving(tmp_path, [request, said] * 3) as (_, plane):
        assert ask(plane).code == (502, "server_error", "upstream_error")


def test_a_name_that_cannot_be_resolved(tmp_path: Path) -> None:
    text = config("  default: {candidates: [a]}", a="http://nowhere.invalid/v1")
    with Plane(tmp_path, text) as plane:
        answer = ask(plane)
        assert answer.code == (502, "server_error", "upstream_error")
        assert b"nowhere" not in answer.body
        assert plane.only_record().tried[0] == ("primary", "a", "dns")


@pytest.mark.parametrize("ca", ["", ", tls: {ca: other.pem}"], ids=["system trust", "another CA"])
def test_a_certificate_that_is_not_trusted(tmp_path: Path, ca: str) -> None:
    (tmp_path / "other").mkdir()
    other = make_certificates(tmp_path / "other")
    other.ca_file.rename(tmp_path / "other.pem")
    certificates = make_certificates(tmp_path)
    with ScriptedUpstream([until_closed], tls=certificates.server_context) as up:
        declared = f"adapter: openai, base_url: '{up.base_url}'{ca}"
        with Plane(tmp_path, config("  default: {candidates: [a]}", a=declared)) as plane:
            assert ask(plane).code == (502, "server_error", "upstream_error")
            assert plane.only_record().tried[0][2] == "tls"
    assert up.requests == []


def test_a_certificate_of_another_name(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path, "example.org")
    with ScriptedUpstream([until_closed], tls=certificates.server_context) as up:
        declared = f"adapter: openai, base_url: '{up.base_url}', tls: {{ca: ca.pem}}"
        with Plane(tmp_path, config("  default: {candidates: [a]}", a=declared)) as plane:
            assert ask(plane).code == (502, "server_error", "upstream_error")


def test_a_handshake_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.pool.TLS_TIMEOUT_S", 0.1)
    with ScriptedUpstream([until_closed]) as up:
        declared = f"adapter: openai, base_url: 'https://127.0.0.1:{up.port}/v1'"
        with Plane(tmp_path, config("  default: {candidates: [a]}", a=declared)) as plane:
            assert ask(plane).code == (502, "server_error", "upstream_error")


def test_a_connect_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.pool.CONNECT_TIMEOUT_S", 0.1)
    full = socket.create_server(("127.0.0.1", 0), backlog=1)
    waiting = []
    for _ in range(8):  # the backlog is full: the kernel drops what comes next
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(full.getsockname())
        waiting.append(one)
    url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
    with Plane(tmp_path, config("  default: {candidates: [a]}", a=url)) as plane:
        answer = ask(plane)
        assert answer.code == (503, "server_error", "no_backend")
        assert answer.header("x-pointsman-attempts") == "2"
        assert answer.header("x-should-retry") == "false"
        assert answer.header("retry-after") == "1"
        assert plane.only_record().tried[0][2] == "connect"
    for one in (*waiting, full):
        one.close()


def test_a_backend_at_its_limit(tmp_path: Path) -> None:
    with ScriptedUpstream([request, until_closed]) as up:
        declared = f"adapter: openai, base_url: '{up.base_url}', in_flight: 1"
        with (
            Plane(tmp_path, config("  default: {candidates: [a]}", a=declared)) as plane,
            plane.client() as first,
        ):
            first.send(post(ASKED))
            plane.wait_until(lambda: up.requests)
            answer = ask(plane)
            assert answer.code == (503, "server_error", "overloaded")
            assert int(answer.header("retry-after") or 0) >= 1


@pytest.mark.parametrize("code", [400, 599, 399, 600, 401, "429", True, 503.0])
def test_an_error_events_own_status_counts_where_it_is_one(tmp_path: Path, code: object) -> None:
    body = json.dumps({"error": {"message": "m", "code": code}}).encode()
    with serving(tmp_path, [request, response(body)] * 3) as (_, plane):
        assert ask(plane).status == (code if code in (400, 599) else 502)
