"""Served through the proxy: every kind of model server as it really answers (WIRE section 10).

The adapter at the end stands in one file of tests/support/ and nowhere else.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters import kinds
from tests.support.plane import (
    ASKED,
    DONE,
    STREAMED,
    Plane,
    ask,
    completion,
    config,
    event,
    stream_answer,
    usage_event,
    whole_answer,
)
from tests.support.scripted import Script, ScriptedUpstream, request, response, until_closed

SUPPORT = Path(__file__).resolve().parent.parent / "support"
EVERY_BACKEND_IS_A = "  default: {candidates: [a]}"
WITH_FALLBACK = "  default: {candidates: [a], on_failure: [b]}"
ONE = [request, whole_answer(), until_closed]


@contextmanager
def serving(
    tmp_path: Path, script: Script, words: str = "", *, adapter: str = "openai", **asked: str
) -> Iterator[tuple[ScriptedUpstream, Plane]]:
    """A plane in front of one scripted server of that kind."""
    with ScriptedUpstream(script) as upstream:
        url = upstream.base_url if adapter == "openai" else upstream.base_url[:-3]
        declared = f"adapter: {adapter}, base_url: '{url}', model: m-a{words}"
        text = config(EVERY_BACKEND_IS_A, a=declared)
        with Plane(tmp_path, text, environment={"KEY": "k-1"}) as plane:
            yield upstream, plane


def sent_body(upstream: ScriptedUpstream) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(upstream.requests[0].partition(b"\r\n\r\n")[2])
    return found


# -- llama.cpp ------------------------------------------------------------------------------------

LOADING = response(
    b'{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}',
    status="503 Service Unavailable",
    content_type="application/json; charset=utf-8",
)


def test_llamacpp_that_loads_its_model_is_passed_over_at_once(tmp_path: Path) -> None:
    with (
        ScriptedUpstream([request, LOADING, request, LOADING, until_closed]) as loading,
        ScriptedUpstream(ONE) as ready,
        Plane(tmp_path, config(WITH_FALLBACK, a=loading.base_url, b=ready.base_url)) as plane,
    ):
        assert ask(plane).status == 200
        assert plane.only_record().tried == [
            ("primary", "a", "not_ready"),
            ("fallback", "b", None),
        ]


def test_llamacpp_alone_says_itself_that_it_loads(tmp_path: Path) -> None:
    script = [*[request, LOADING] * 4, until_closed]
    with serving(tmp_path, script, ", server: llama.cpp") as (_, plane):
        answer = ask(plane)
        assert answer.status == 503
        assert answer.json["error"]["type"] == "unavailable_error"


def test_llamacpps_comments_and_timings_pass(tmp_path: Path) -> None:
    events = (
        b": ping\n\n",
        event("hi", None),
        event(None, "stop"),
        event(choices=[], usage={"prompt_tokens": 3, "completion_tokens": 5}, timings={"n": 1}),
        DONE,
    )
    asked = {**STREAMED, "stream_options": {"include_usage": True}}
    with serving(tmp_path, [request, stream_answer(*events), until_closed]) as (_, plane):
        assert ask(plane, asked).body == b"".join(events)
        assert plane.only_record().record.usage.prompt == 3


def test_llamacpps_error_inside_a_200_gets_the_status_of_its_integer_code(tmp_path: Path) -> None:
    error = (
        b'data: {"error":{"code":400,"message":"too long","type":"exceed_context_size_error"}}\n\n'
    )
    script = [*[request, stream_answer(error)] * 4, until_closed]
    with serving(tmp_path, script) as (_, plane):
        answer = ask(plane, STREAMED)
        assert answer.status == 400
        assert answer.json["error"]["code"] == 400


@pytest.mark.parametrize("address", ["file:///etc/passwd", "secret.png"])
def test_an_image_of_the_servers_own_disk_is_refused(tmp_path: Path, address: str) -> None:
    image = {"type": "image_url", "image_url": {"url": address}}
    asked = {**ASKED, "messages": [{"role": "user", "content": [image]}]}
    with serving(tmp_path, ONE) as (upstream, plane):
        answer = ask(plane, asked)
        assert answer.code == (400, "invalid_request_error", "invalid_image_url")
        assert answer.error["param"] == "messages"
        assert upstream.connections == []


# -- vLLM -----------------------------------------------------------------------------------------


def test_vllms_integer_codes_pass_as_they_are(tmp_path: Path) -> None:
    body = b'{"error":{"message":"bad","type":"BadRequestError","param":null,"code":400}}'
    script = [request, response(body, status="400 Bad Request"), until_closed]
    with serving(tmp_path, script) as (_, plane):
        answer = ask(plane)
        assert (answer.status, answer.body) == (400, body)


def test_vllms_ending_in_the_last_content_chunk_is_an_ending(tmp_path: Path) -> None:
    last = event("llo", "stop", usage=None)
    script = [request, stream_answer(event("he", None, usage=None), last), until_closed]
    with serving(tmp_path, script) as (_, plane):
        answer = ask(plane, STREAMED)
        assert answer.is_whole
        assert plane.only_record().ended == ("ok", True, 200, None)


def test_vllms_usage_in_every_chunk_reaches_only_who_asked_for_it(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 3, "total_tokens": 4, "completion_tokens": 1}
    events = (event("a", None, usage=usage), event(None, "stop", usage=usage), usage_event(), DONE)
    options = {"include_usage": True, "continuous_usage_stats": True}
    script = [request, stream_answer(*events), until_closed]
    with serving(tmp_path, script) as (upstream, plane):
        assert ask(plane, {**STREAMED, "stream_options": options}).body == b"".join(events)
        assert sent_body(upstream)["stream_options"] == options


def test_vllms_usage_in_every_chunk_is_not_set_off_by_our_question(tmp_path: Path) -> None:
    script = [request, stream_answer(event("a", "stop"), DONE), until_closed]
    with serving(tmp_path, script) as (upstream, plane):
        ask(plane, {**STREAMED, "stream_options": {"continuous_usage_stats": True}})
        options = {"include_usage": True, "continuous_usage_stats": False}
        assert sent_body(upstream)["stream_options"] == options


def test_a_costly_parameter_needs_the_operators_leave(tmp_path: Path) -> None:
    asked = {**ASKED, "prompt_logprobs": 5}
    with serving(tmp_path, ONE, ", server: vllm") as (upstream, plane):
        answer = ask(plane, asked)
        assert answer.code == (400, "invalid_request_error", "unsupported_parameter")
        assert answer.error["param"] == "prompt_logprobs"
        assert upstream.connections == []
    (tmp_path / "allowed").mkdir()
    words = ", server: vllm, parameters: {allow: [prompt_logprobs]}"
    with serving(tmp_path / "allowed", ONE, words) as (upstream, plane):
        assert ask(plane, asked).status == 200
        assert sent_body(upstream)["prompt_logprobs"] == 5


# -- Azure ----------------------------------------------------------------------------------------


def test_azure_is_asked_at_its_deployment_and_its_first_chunk_stays(tmp_path: Path) -> None:
    first = b'data: {"choices":[],"id":"","prompt_filter_results":[{"prompt_index":0}]}\n\n'
    events = (first, event("hi", None, usage=None), event(None, "stop", usage=None), DONE)
    script = [request, stream_answer(*events), until_closed]
    words = ", api_version: 2024-10-21, api_key: {env: KEY}"
    with serving(tmp_path, script, words, adapter="azure") as (upstream, plane):
        answer = ask(plane, STREAMED)
        assert answer.body.startswith(first + b"data: ")
        assert b"usage" not in answer.body
        line, *fields = upstream.requests[0].split(b"\r\n")
        path = b"/openai/deployments/m-a/chat/completions?api-version=2024-10-21"
        assert line == b"POST %b HTTP/1.1" % path
        assert b"api-key: k-1" in fields
        assert b"authorization" not in upstream.requests[0].lower()


def test_azures_own_words_about_an_answer_reach_the_client(tmp_path: Path) -> None:
    body = completion(prompt_filter_results=[{"prompt_index": 0}])
    script = [request, response(body, "apim-request-id: 7", "x-ms-region: East"), until_closed]
    with serving(tmp_path, script, adapter="azure") as (upstream, plane):
        answer = ask(plane)
        assert answer.body == body
        assert (answer.header("apim-request-id"), answer.header("x-ms-region")) == ("7", "East")
        assert upstream.requests[0].startswith(b"POST /openai/v1/chat/completions HTTP/1.1\r\n")


# -- reasoning models -----------------------------------------------------------------------------


@pytest.mark.parametrize(("asked_for", "is_moved"), [("auto", True), ("a", False)])
def test_parameters_are_adapted_only_where_the_policy_moved_the_request(
    tmp_path: Path, asked_for: str, is_moved: bool
) -> None:
    asked = {**ASKED, "model": asked_for, "max_tokens": 5, "temperature": 0}
    with serving(tmp_path, ONE, ", reasoning: true") as (upstream, plane):
        answer = ask(plane, asked)
        sent = sent_body(upstream)
        assert ("max_completion_tokens" in sent) == is_moved
        assert ("temperature" in sent) != is_moved
        edited = "model, max_tokens, temperature" if is_moved else "model"
        assert answer.header("x-pointsman-edited") == edited


# -- one file an adapter --------------------------------------------------------------------------


def test_an_adapter_is_one_file_that_nothing_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kinds, "__path__", [*kinds.__path__, str(SUPPORT / "kinds")])
    try:
        with serving(tmp_path, ONE, adapter="sesame") as (upstream, plane):
            assert ask(plane).status == 200
            line, *fields = upstream.requests[0].split(b"\r\n")
            assert line == b"POST /api/m-a/chat/completions HTTP/1.1"
            assert b"x-secret: open sesame" in fields
    finally:
        sys.modules.pop("adapters.kinds.sesame", None)
