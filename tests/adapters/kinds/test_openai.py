"""A request on the OpenAI wire: the body spliced, the headers an allow-list, the key our own."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pointsman
from adapters.adapter import RETRYABLE_STATUSES, RequestRefused
from adapters.backend import Backend
from adapters.connection import ResponseHead
from adapters.declared import load_backends
from adapters.edits import Edited, Prepared, Wanted
from adapters.kinds.openai import ADAPTER
from adapters.retry_after import retry_after_s
from adapters.splice import DuplicateMember
from adapters.target import Target
from pointsman.decoding import Findings
from pointsman.document import parse
from pointsman.secret import Secret

PLAIN = Wanted(model_asked="auto", is_stream=False, includes_usage=False, adds_logprobs=False)
STREAM = replace(PLAIN, is_stream=True)
BODY = b'{"model": "auto", "messages": [{"role": "user", "content": "hi"}], "x": 1.0}'


def backend(**changes: Any) -> Backend:
    fields = {"name": "b", "adapter": "openai", "model": "m-1", "host": "api.example", "port": 80}
    return Backend(**(fields | changes))


def prepare(body: bytes, wanted: Wanted = PLAIN, **changes: Any) -> Prepared:
    return Target(backend(**changes)).prepare(body, wanted, header_lines=b"")


def sent(prepared: Prepared) -> bytes:
    """The body of a prepared request, its length checked."""
    head, _, body = prepared.payload.partition(b"\r\n\r\n")
    assert b"content-length: %d" % len(body) in head.split(b"\r\n")
    return body


def test_the_whole_request() -> None:
    target = Target(
        backend(api_key=Secret("sk-ours", "env:KEY"), path_prefix="/base/v1", port=8000)
    )
    lines = ADAPTER.to_upstream.lines(
        [(b"content-type", b"application/json"), (b"authorization", b"theirs")]
    )
    prepared = target.prepare(BODY, PLAIN, header_lines=lines, query=b"?api-version=1")
    body = BODY.replace(b'"auto"', b'"m-1"')
    assert prepared.payload == (
        b"POST /base/v1/chat/completions?api-version=1 HTTP/1.1\r\n"
        b"host: api.example:8000\r\n"
        b"accept-encoding: identity\r\n"
        b"user-agent: pointsman/%b\r\n"
        b"authorization: Bearer sk-ours\r\n"
        b"content-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%b"
    ) % (pointsman.__version__.encode(), len(body), body)
    assert prepared.edited == ("model",)
    assert (prepared.hides_usage, prepared.hides_logprobs) == (False, False)


@pytest.mark.parametrize(
    ("changes", "host"),
    [
        ({}, b"api.example"),
        ({"port": 443}, b"api.example:443"),
        ({"scheme": "https", "port": 443}, b"api.example"),
        ({"scheme": "https", "port": 80}, b"api.example:80"),
        ({"host": "::1", "port": 8000}, b"[::1]:8000"),
    ],
)
def test_host_names_the_port_where_it_is_not_the_usual_one(
    changes: dict[str, Any], host: bytes
) -> None:
    assert b"\r\nhost: %b\r\n" % host in prepare(BODY, **changes).payload


def test_no_key_no_authorization() -> None:
    assert b"authorization" not in prepare(BODY).payload


def test_a_body_that_needs_no_edit_is_not_touched() -> None:
    odd = b'\n{"messages":[], "n" : 1.00,"model":"m-1","\\u00e9":"\\ud83d"}'
    prepared = prepare(odd, replace(PLAIN, model_asked="m-1"))
    assert sent(prepared) == odd
    assert prepared.edited == ()


@pytest.mark.parametrize("asked", ["auto", "m-1"])
@pytest.mark.parametrize(
    "body", [b'{"model":"auto","model":"m-1"}', b'{"mod\\u0065l":"dear","model":"m-1"}']
)
def test_a_model_that_comes_twice_is_refused_edited_or_not(asked: str, body: bytes) -> None:
    with pytest.raises(DuplicateMember):
        prepare(body, replace(PLAIN, model_asked=asked))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (b"", b'"stream_options":{"include_usage":true},'),
        (b'"stream_options":null,', b'"stream_options":{"include_usage":true},'),
        (b'"stream_options": {},', b'"stream_options": {"include_usage":true},'),
        (
            b'"stream_options":{ "include_usage" : false ,"include_obfuscation":false},',
            b'"stream_options":{ "include_usage" : true ,"include_obfuscation":false},',
        ),
        (
            b'"stream_options":{"include_obfuscation":false},',
            b'"stream_options":{"include_usage":true,"include_obfuscation":false},',
        ),
        (
            b'"stream\\u005foptions":{"a":1},',
            b'"stream\\u005foptions":{"include_usage":true,"a":1},',
        ),
    ],
)
def test_asks_for_usage_in_a_stream_and_keeps_the_other_options(
    options: bytes, expected: bytes
) -> None:
    prepared = prepare(b"{" + options + b'"model":"m-1"}', replace(STREAM, model_asked="m-1"))
    assert sent(prepared) == b"{" + expected + b'"model":"m-1"}'
    assert prepared.edited == ("stream_options.include_usage",)
    assert prepared.hides_usage


@pytest.mark.parametrize(
    ("wanted", "changes"),
    [
        (PLAIN, {}),
        (replace(STREAM, includes_usage=True), {}),
        (STREAM, {"include_usage": False}),
    ],
)
def test_does_not_ask_for_usage_where_it_is_asked_for_or_not_taken(
    wanted: Wanted, changes: dict[str, Any]
) -> None:
    prepared = prepare(BODY, wanted, **changes)
    assert b"stream_options" not in sent(prepared)
    assert not prepared.hides_usage


@pytest.mark.parametrize("options", [b"5", b'"yes"', b"[1]", b"true"])
def test_stream_options_of_a_wrong_type_are_the_backends_to_refuse(options: bytes) -> None:
    body = b'{"model":"m-1","stream_options":%b}' % options
    prepared = prepare(body, replace(STREAM, model_asked="m-1"))
    assert sent(prepared) == body
    assert not prepared.hides_usage


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"auto","stream_options":{},"stream_options":{}}',
        b'{"model":"auto","stream_options":{"include_usage":false,"include_usage":false}}',
    ],
)
def test_stream_options_that_come_twice_are_refused(body: bytes) -> None:
    with pytest.raises(DuplicateMember):
        prepare(body, STREAM)


@pytest.mark.parametrize(
    "asked", [{}, {"logprobs": False}, {"logprobs": None, "top_logprobs": None}]
)
def test_asks_for_logprobs_with_one_alternative(asked: dict[str, Any]) -> None:
    wanted = replace(PLAIN, adds_logprobs=True)
    prepared = prepare(json.dumps({"model": "auto"} | asked).encode(), wanted)
    assert json.loads(sent(prepared)) == {"model": "m-1", "logprobs": True, "top_logprobs": 1}
    assert prepared.edited == ("model", "logprobs", "top_logprobs")
    assert prepared.hides_logprobs


def test_strips_metadata_where_a_backend_refuses_it() -> None:
    body = b'{"metadata":{"metadata":"x"},"model":"auto"}'
    assert sent(prepare(body)) == b'{"metadata":{"metadata":"x"},"model":"m-1"}'
    stripped = prepare(body, strip_metadata=True)
    assert sent(stripped) == b'{"model":"m-1"}'
    assert stripped.edited == ("model", "metadata")
    assert sent(prepare(BODY, strip_metadata=True)) == sent(prepare(BODY))


MEMBERS = {
    "model": st.just("auto"),
    "stream_options": st.none() | st.dictionaries(st.just("include_usage"), st.booleans()),
    "logprobs": st.none() | st.booleans(),
    "metadata": st.dictionaries(st.text(max_size=3), st.sampled_from(["model", '"model":', "x"])),
    "messages": st.lists(st.fixed_dictionaries({"content": st.text(max_size=8)}), max_size=2),
}  # fmt: skip


@given(
    st.permutations(list(MEMBERS)).flatmap(
        lambda names: st.fixed_dictionaries({name: MEMBERS[name] for name in names})
    ),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_all_edits_together_give_what_was_meant(
    value: dict[str, Any], indent: int | None, strips: bool
) -> None:
    wanted = replace(STREAM, adds_logprobs=True)
    prepared = prepare(json.dumps(value, indent=indent).encode(), wanted, strip_metadata=strips)
    expected = value | {"model": "m-1", "logprobs": True, "top_logprobs": 1}
    expected["stream_options"] = (value["stream_options"] or {}) | {"include_usage": True}
    if strips:
        del expected["metadata"]
    pairs = json.loads(sent(prepared), object_pairs_hook=list)
    assert len(pairs) == len(expected)
    assert json.loads(sent(prepared)) == expected


KEPT_UPSTREAM = [
    (b"content-type", b"application/json; charset=utf-8"),
    (b"accept", b"*/*"),
    (b"idempotency-key", b"i"),
    (b"traceparent", b"00-1-2-01"),
    (b"openai-beta", b"x"),
    (b"x-stainless-lang", b"python"),
]
DROPPED_UPSTREAM = [
    b"authorization", b"api-key", b"cookie", b"baggage", b"tracestate", b"x-forwarded-for",
    b"forwarded", b"x-original-url", b"x-portkey-custom-host", b"openai-organization",
    b"openai-project", b"connection", b"te", b"upgrade", b"host", b"content-length",
    b"transfer-encoding", b"accept-encoding", b"user-agent", b"x-pointsman-capture", b"expect",
    b"proxy-authorization", b"content-encoding", b"x-request-id",
]  # fmt: skip


def test_only_what_is_allowed_goes_upstream() -> None:
    headers = [*KEPT_UPSTREAM, *((name, b"canary") for name in DROPPED_UPSTREAM)]
    assert ADAPTER.to_upstream.lines(headers) == b"".join(
        b"%b: %b\r\n" % header for header in KEPT_UPSTREAM
    )


def test_what_connection_named_does_not_go_upstream() -> None:
    kept = ADAPTER.to_upstream.lines(KEPT_UPSTREAM, frozenset({b"accept", b"x-stainless-lang"}))
    assert b"accept" not in kept
    assert b"stainless" not in kept
    assert b"idempotency-key: i\r\n" in kept


def test_only_what_is_allowed_goes_downstream() -> None:
    kept = [
        (b"content-type", b"a"), (b"content-encoding", b"gzip"), (b"x-request-id", b"r"),
        (b"openai-processing-ms", b"5"), (b"openai-version", b"v"), (b"openai-model", b"m"),
        (b"x-ratelimit-reset-tokens", b"6m0s"), (b"retry-after", b"1"), (b"retry-after-ms", b"9"),
        (b"x-should-retry", b"false"),
    ]  # fmt: skip
    dropped = [
        b"set-cookie", b"server", b"openai-organization", b"openai-project", b"cf-ray", b"alt-svc",
        b"connection", b"keep-alive", b"transfer-encoding", b"content-length", b"trailer", b"date",
        b"x-pointsman-backend",
    ]  # fmt: skip
    assert ADAPTER.to_downstream.kept([*((name, b"x") for name in dropped), *kept]) == kept


def head(status: int, *headers: tuple[bytes, bytes], coding: bytes | None = None) -> ResponseHead:
    return ResponseHead(status, list(headers), True, coding)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 422, 425, 429, 500, 503, 529])
def test_which_statuses_may_do_better_another_time(status: int) -> None:
    assert ADAPTER.is_retryable(head(status), b"{}") is (status in RETRYABLE_STATUSES)
    assert (status in RETRYABLE_STATUSES) is (status not in (400, 401, 403, 404, 422))


def test_a_spent_quota_stays_spent_also_when_it_is_told_compressed() -> None:
    body = b'{"error":{"code":"insufficient_quota"}}'
    assert not ADAPTER.is_retryable(head(429), body)
    assert not ADAPTER.is_retryable(head(429, coding=b"gzip"), gzip.compress(body))
    assert ADAPTER.is_retryable(head(429, coding=b"gzip"), gzip.compress(b'{"error":{}}'))


def test_the_backends_own_word_on_retrying_counts() -> None:
    assert not ADAPTER.is_retryable(head(503, (b"x-should-retry", b"false")), b"")
    assert ADAPTER.is_retryable(head(503, (b"x-should-retry", b"true")), b"")
    assert not ADAPTER.is_retryable(head(400, (b"x-should-retry", b"true")), b"")


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ([], None),
        ([(b"retry-after", b"2")], 2.0),
        ([(b"retry-after", b"0.05")], 0.05),
        ([(b"retry-after", b"9"), (b"retry-after-ms", b"120")], 0.12),
        ([(b"retry-after-ms", b"soon"), (b"retry-after", b"3")], 3.0),
        ([(b"retry-after", b"Wed, 21 Oct 2026 07:28:00 GMT")], 0.0),
        ([(b"retry-after", b"-1")], None),
        ([(b"retry-after", b"inf")], None),
        ([(b"retry-after", b"1e9")], None),
        ([(b"retry-after", b"")], None),
    ],
)
def test_how_long_a_backend_asks_to_wait(
    headers: list[tuple[bytes, bytes]], wait_s: float | None
) -> None:
    assert retry_after_s(head(429, *headers)) == wait_s


# -- servers of one's own -------------------------------------------------------------------------


def declared(words: str) -> Backend:
    findings = Findings()
    found = load_backends(
        parse(f"b: {{adapter: openai, model: m-1, {words}}}", "c.yaml"),
        findings=findings,
        directory=Path(),
        environment={},
    )
    assert findings.errors == []
    return found["b"]


def edited(declaration: str, body: bytes, wanted: Wanted = PLAIN) -> Edited:
    return ADAPTER.edit(declared(declaration), body, wanted)


OWN_SERVER = "base_url: http://127.0.0.1:8000/v1"
REASONING = "base_url: https://api.openai.com/v1, reasoning: true"


@pytest.mark.parametrize("server", ["", ", server: vllm", ", server: llama.cpp"])
def test_what_makes_a_server_of_ones_own_spend_more_is_refused(server: str) -> None:
    body = b'{"model":"auto","prompt_logprobs":5}'
    with pytest.raises(RequestRefused, match="prompt_logprobs") as refused:
        edited(OWN_SERVER + server, body)
    assert (refused.value.param, refused.value.code) == ("prompt_logprobs", "unsupported_parameter")
    allowed = edited(OWN_SERVER + server + ", parameters: {allow: [prompt_logprobs]}", body)
    assert allowed.body == b'{"model":"m-1","prompt_logprobs":5}'


@pytest.mark.parametrize(
    "words", ["base_url: https://api.openai.com/v1", OWN_SERVER + ", server: openai"]
)
def test_openai_judges_its_own_parameters(words: str) -> None:
    body = b'{"model":"m-1","priority":5,"image_url":"file:///etc/passwd"}'
    assert edited(words, body, replace(PLAIN, model_asked="m-1")).body == body


@pytest.mark.parametrize(
    "address",
    [
        b'"file:///etc/passwd"',
        b'"FILE:a"',
        b'"cat.png"',
        b'"/etc/passwd"',
        b'"\\u0066ile:///a"',
        b'"ftp://h/a"',
        b'""',
    ],
)
@pytest.mark.parametrize(
    "image",
    [
        b'{"type":"image_url","image_url":{"url":%b}}',
        b'{"type":"image_url","image_url":{"detail":{"a":1},"url" : %b}}',
        b'{"type":"input_image","image_url":%b}',
        b'{"type":"image_url","image\\u005furl":{"u\\u0072l":%b}}',
        b'{"type":"image_url","image_url":{"url":"https://h/a","url":%b}}',
    ],
)
def test_an_image_may_not_name_a_file_of_the_servers(image: bytes, address: bytes) -> None:
    body = b'{"model":"m-1","messages":[{"role":"user","content":[%b]}]}' % (image % address)
    with pytest.raises(RequestRefused, match="https"):
        edited(OWN_SERVER, body)


@pytest.mark.parametrize(
    "content",
    [
        b'[{"type":"image_url","image_url":{"url":"https://h/a.png"}}]',
        b'[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]',
        b'[{"type":"image_url","image_url":{"url":"HTTP:\\/\\/h\\/a.png"}}]',
        b'"see \\"image_url\\": \\"file:///a\\", caf\\u00e9"',
    ],
)
def test_other_images_and_talk_of_them_pass(content: bytes) -> None:
    body = b'{"model":"m-1","messages":[{"role":"user","content":%b}]}' % content
    assert edited(OWN_SERVER, body, replace(PLAIN, model_asked="m-1")).body == body


def test_a_moved_request_has_a_reasoning_models_parameters() -> None:
    body = b'{"model":"auto","max_tokens":5,"temperature":0,"messages":[]}'
    moved = edited(REASONING, body)
    assert moved.body == b'{"model":"m-1","max_completion_tokens":5,"messages":[]}'
    assert moved.names == ("model", "max_tokens", "temperature")


@pytest.mark.parametrize("asked", ["m-1", "b"])
def test_who_asks_for_a_reasoning_model_knows_what_it_takes(asked: str) -> None:
    body = b'{"model":"m-1","max_tokens":5,"temperature":0,"messages":[]}'
    body = body.replace(b"m-1", asked.encode())
    kept = edited(REASONING, body, replace(PLAIN, model_asked=asked))
    assert kept.body == body.replace(b'"b"', b'"m-1"')


def test_a_model_that_does_not_reason_takes_all_parameters() -> None:
    body = b'{"model":"auto","max_tokens":5,"temperature":0,"messages":[]}'
    assert edited(OWN_SERVER, body).names == ("model",)


def test_usage_in_every_chunk_stays_off_where_only_we_asked_for_usage() -> None:
    body = b'{"model":"m-1","stream":true,"stream_options":{"continuous_usage_stats":true}}'
    after = edited(OWN_SERVER, body, replace(STREAM, model_asked="m-1")).body
    assert b'{"include_usage":true,"continuous_usage_stats":false}' in after
    asked = replace(STREAM, model_asked="m-1", includes_usage=True)
    assert edited(OWN_SERVER, body, asked).body == body


def test_the_account_that_pays_comes_from_the_configuration() -> None:
    words = "base_url: https://api.openai.com/v1, organization: org-1, project: proj_1"
    assert ADAPTER.credentials(declared(words)) == (
        (b"openai-organization", b"org-1"),
        (b"openai-project", b"proj_1"),
    )


@pytest.mark.parametrize(
    ("status", "body", "is_loading"),
    [
        (503, b'{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}', True),
        (503, b'{"error":{"message":"overloaded","type":"server_error"}}', False),
        (500, b'{"error":{"message":"Loading model"}}', False),
    ],
)
def test_a_model_that_is_being_loaded_is_not_ready(
    status: int, body: bytes, is_loading: bool
) -> None:
    assert ADAPTER.is_loading(ResponseHead(status, [], True), body) == is_loading
