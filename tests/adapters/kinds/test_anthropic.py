"""A request in Anthropic's protocol: the model spliced in, the headers its own."""

from dataclasses import replace
from pathlib import Path

from adapters.backend import Backend
from adapters.declared import load_backends
from adapters.edits import Wanted
from adapters.kinds.anthropic import ADAPTER
from adapters.target import Target
from pointsman.decoding import Findings
from pointsman.document import parse

BODY = b'{"max_tokens": 5, "model": "auto", "messages": [], "metadata": {"user_id": "u"}}'
WANTED = Wanted("auto", is_stream=True, includes_usage=True, adds_logprobs=False)


def declared(words: str = "") -> Backend:
    findings = Findings()
    text = f"b: {{adapter: anthropic, model: claude-x, api_key: {{env: KEY}}{words}}}"
    found = load_backends(
        parse(text, "c.yaml"), findings=findings, directory=Path(), environment={"KEY": "k-1"}
    )
    assert findings.errors == []
    return found["b"]


def test_the_whole_request() -> None:
    backend = declared()
    assert (backend.scheme, backend.host, backend.port) == ("https", "api.anthropic.com", 443)
    lines = ADAPTER.to_upstream.lines(
        [
            (b"x-api-key", b"theirs"),
            (b"authorization", b"Bearer theirs"),
            (b"anthropic-beta", b"tools-1,tools-2"),
            (b"openai-beta", b"x"),
            (b"x-stainless-lang", b"python"),
        ]
    )
    prepared = Target(backend).prepare(BODY, WANTED, header_lines=lines, path=b"/v1/messages")
    head, _, body = prepared.payload.partition(b"\r\n\r\n")
    first, *fields = head.split(b"\r\n")
    assert first == b"POST /v1/messages HTTP/1.1"
    assert fields[0] == b"host: api.anthropic.com"
    assert fields[3:] == [
        b"x-api-key: k-1",
        b"anthropic-beta: tools-1,tools-2",
        b"x-stainless-lang: python",
        b"anthropic-version: 2023-06-01",
        b"content-length: %d" % len(body),
    ]
    assert body == BODY.replace(b'"auto"', b'"claude-x"')
    assert prepared.edited == ("model",)
    assert not prepared.hides_usage


def test_a_clients_own_version_wins() -> None:
    lines = ADAPTER.to_upstream.lines([(b"anthropic-version", b"2024-01-01")])
    assert lines == b"anthropic-version: 2024-01-01\r\n"


def test_a_base_url_may_have_the_version_at_its_end_or_not() -> None:
    for url in ("https://h", "https://h/v1"):
        backend = declared(f", base_url: {url}")
        assert ADAPTER.locate(backend, "/messages") == "/v1/messages"


def test_a_body_that_needs_no_edit_is_not_touched() -> None:
    wanted = replace(WANTED, model_asked="claude-x")
    body = BODY.replace(b"auto", b"claude-x")
    assert ADAPTER.edit(declared(), body, wanted).body == body


def test_its_own_words_apply_to_moved_requests_only() -> None:
    backend = declared(", parameters: {drop: [max_tokens]}, strip_metadata: true")
    edited = ADAPTER.edit(backend, BODY, WANTED)
    assert edited.body == b'{ "model": "claude-x", "messages": []}'
    assert edited.names == ("model", "max_tokens", "metadata")
    edited = ADAPTER.edit(backend, BODY, replace(WANTED, model_asked="b"))
    assert edited.names == ("model", "metadata")


def test_a_model_that_thinks_is_not_sampled_otherwise_where_the_request_was_moved() -> None:
    backend = declared(", reasoning: true")
    body = b'{"model":"auto","temperature":0.2,"top_k":5,"max_tokens":9}'
    edited = ADAPTER.edit(backend, body, WANTED)
    assert edited.body == b'{"model":"claude-x","max_tokens":9}'
    asked = ADAPTER.edit(
        backend, body.replace(b"auto", b"claude-x"), replace(WANTED, model_asked="claude-x")
    )
    assert asked.names == ()


def test_the_request_id_and_limits_reach_the_client_and_the_account_does_not() -> None:
    sent = [
        (b"request-id", b"req_1"),
        (b"anthropic-ratelimit-tokens-remaining", b"5"),
        (b"anthropic-organization-id", b"secret"),
        (b"cf-ray", b"x"),
    ]
    assert ADAPTER.to_downstream.kept(sent) == sent[:2]
