"""Anthropic's protocol through the proxy: its bytes, its errors, its endings, its usage."""

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.keys import create_key
from tests.support.plane import ASKED, Plane, config, error_answer, stream_answer, whole_answer
from tests.support.raw_client import Answer, get
from tests.support.scripted import (
    LAST_CHUNK,
    Script,
    ScriptedUpstream,
    chunk,
    chunked_head,
    fin,
    request,
    response,
    until_closed,
)

MESSAGES, COUNT = "/v1/messages", "/v1/messages/count_tokens"
SAID: dict[str, Any] = {
    "model": "auto",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "hi"}],
}
STREAMED = {**SAID, "stream": True}
PRICE = "price: {input: 3, cached_input: 0.3, cache_write: 3.75, output: 15}"
WHOLE = (
    b'{ "id":"msg_1","type":"message","role":"assistant","model":"claude-a",'
    b'"content":[{"type":"text","text":"hello"}],"stop_reason":"end_turn","stop_sequence":null,'
    b'"usage":{"input_tokens":10,"cache_creation_input_tokens":100,'
    b'"cache_read_input_tokens":1000,"output_tokens":7},"new_member":1}'
)
COST_USD = (10 * 3 + 100 * 3.75 + 1000 * 0.3 + 7 * 15) / 1e6
OVERLOADED = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'


def event(type: str, **members: Any) -> bytes:
    return f"event: {type}\ndata: {json.dumps({'type': type, **members})}\n\n".encode()


START = event(
    "message_start",
    message={
        "id": "msg_1",
        "type": "message",
        "model": "claude-a",
        "usage": {"input_tokens": 10, "output_tokens": 1},
    },
)
TEXT = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "hello"})
END = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 7})
STOP = event("message_stop")
EVENTS = (START, event("ping"), TEXT, END, STOP)
ERROR = event("error", error={"type": "overloaded_error", "message": "Overloaded"})


@contextmanager
def serving(
    tmp_path: Path, *scripts: Script, top: str = "", route: str = "on_failure: [b]"
) -> Iterator[tuple[list[ScriptedUpstream], Plane]]:
    """A plane in front of claude `a`, `b` behind it, and `gpt`, which speaks OpenAI's protocol."""
    with (
        ScriptedUpstream(scripts[0]) as a,
        ScriptedUpstream(scripts[-1]) as b,
        ScriptedUpstream([request, whole_answer(), until_closed]) as gpt,
    ):
        text = config(
            f"  default: {{candidates: [a], {route}}}\n  gpt-route: {{candidates: [gpt]}}",
            top=top,
            a=f"adapter: anthropic, base_url: '{a.base_url}', model: claude-a, {PRICE}, "
            "api_key: {env: KEY}",
            b=f"adapter: anthropic, base_url: '{b.base_url}', model: claude-b, {PRICE}",
            gpt=gpt.base_url,
        )
        with Plane(tmp_path, text, environment={"KEY": "k-1"}) as plane:
            yield [a, b, gpt], plane


def say(plane: Plane, body: dict[str, Any] = SAID, *headers: str, path: str = MESSAGES) -> Answer:
    with plane.client() as client:
        return client.ask(body, *headers, path=path)


def told(answer: Answer) -> tuple[int, str]:
    """(status, type) of an error of ours; checks that it has Anthropic's shape."""
    assert answer.header("content-type") == "application/json"
    found = answer.json
    assert set(found) == {"type", "error", "request_id"}, found
    assert found["type"] == "error"
    assert set(found["error"]) == {"type", "message"}
    assert found["request_id"] == answer.header("request-id") == answer.header("x-request-id")
    return answer.status, found["error"]["type"]


def test_a_whole_answer_passes_byte_for_byte_and_its_cost_is_known(tmp_path: Path) -> None:
    answered = response(WHOLE, "request-id: req_theirs", "anthropic-organization-id: o")
    with serving(tmp_path, [request, answered, until_closed]) as ((a, *_), plane):
        answer = say(plane, SAID, "anthropic-beta: x-1", "x-api-key: theirs")
        assert answer.body == WHOLE
        assert answer.header("request-id") == "req_theirs"
        assert answer.header("anthropic-organization-id") is None
        head, _, body = a.requests[0].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /v1/messages HTTP/1.1\r\n")
        for line in (b"x-api-key: k-1", b"anthropic-version: 2023-06-01", b"anthropic-beta: x-1"):
            assert line in head.split(b"\r\n")
        assert b"theirs" not in head
        assert json.loads(body) == {**SAID, "model": "claude-a"}
        record = plane.only_record().record
        assert (record.api, record.status, record.finish_reason) == ("messages", "ok", "stop")
        assert (record.usage.prompt, record.usage.cached, record.usage.cache_write) == (
            1110,
            1000,
            100,
        )
        assert record.cost_usd == pytest.approx(COST_USD)


def test_a_stream_passes_byte_for_byte(tmp_path: Path) -> None:
    with serving(tmp_path, [request, stream_answer(*EVENTS), until_closed]) as ((a, *_), plane):
        answer = say(plane, STREAMED)
        assert answer.body == b"".join(EVENTS)
        assert answer.is_whole
        assert b"stream_options" not in a.requests[0]
        kept = plane.only_record()
        assert kept.ended == ("ok", True, 200, None)
        assert (kept.record.usage.prompt, kept.record.usage.completion) == (10, 7)


def test_the_last_event_and_the_end_come_together(tmp_path: Path) -> None:
    with serving(tmp_path, [request, stream_answer(*EVENTS), until_closed]) as (_, plane):
        assert say(plane, STREAMED).chunks[-1].endswith(STOP)


@pytest.mark.parametrize("end", [LAST_CHUNK, None])
def test_a_cut_stream_ends_with_an_error_event_and_no_end(
    tmp_path: Path, end: bytes | None
) -> None:
    script = [request, chunked_head(), chunk(START + TEXT), fin if end is None else end, fin]
    with serving(tmp_path, script) as (_, plane):
        answer = say(plane, STREAMED)
        assert answer.body.startswith(START + TEXT + b"event: error\ndata: ")
        cut = json.loads(answer.body.rpartition(b"data: ")[2])
        assert (cut["type"], cut["error"]["type"]) == ("error", "api_error")
        assert not answer.is_whole
        assert plane.only_record().ended[:2] == ("upstream_cut", False)


def test_an_error_in_the_middle_of_a_stream_is_told_once(tmp_path: Path) -> None:
    script = [request, stream_answer(START, TEXT, ERROR), until_closed]
    with serving(tmp_path, script) as (_, plane):
        answer = say(plane, STREAMED)
        assert answer.body == START + TEXT + ERROR
        assert not answer.is_whole


@pytest.mark.parametrize(
    "failure",
    [
        response(OVERLOADED, status="529 Overloaded"),
        stream_answer(ERROR),
        stream_answer(event("ping"), ERROR),
    ],
)
def test_an_overloaded_backend_is_followed_by_the_next(tmp_path: Path, failure: bytes) -> None:
    fine = [request, stream_answer(*EVENTS), until_closed]
    with serving(tmp_path, [*[request, failure] * 3, until_closed], fine) as ((_, b, _), plane):
        answer = say(plane, STREAMED)
        assert answer.body == b"".join(EVENTS)
        assert json.loads(b.requests[0].partition(b"\r\n\r\n")[2])["model"] == "claude-b"


def test_the_last_overload_is_passed_on_as_it_is(tmp_path: Path) -> None:
    script = [*[request, response(OVERLOADED, status="529 Overloaded")] * 4, until_closed]
    with serving(tmp_path, script) as (_, plane):
        answer = say(plane)
        assert (answer.status, answer.body) == (529, OVERLOADED)
        assert answer.header("x-should-retry") == "false"


def test_an_error_event_alone_becomes_a_status(tmp_path: Path) -> None:
    script = [*[request, stream_answer(ERROR)] * 4, until_closed]
    with serving(tmp_path, script) as (_, plane):
        answer = say(plane, STREAMED)
        assert answer.status == 529
        assert answer.json == json.loads(OVERLOADED)


def test_a_refusal_passes_after_one_attempt(tmp_path: Path) -> None:
    body = (
        b'{"type":"error","error":{"type":"invalid_request_error","message":"m"},"request_id":"r"}'
    )
    script = [request, response(body, status="400 Bad Request"), until_closed]
    with serving(tmp_path, script) as ((a, b, _), plane):
        answer = say(plane)
        assert (answer.status, answer.body) == (400, body)
        assert (len(a.requests), len(b.requests)) == (1, 0)


def test_tokens_are_counted_by_the_backend_and_cost_nothing(tmp_path: Path) -> None:
    counted = response(b'{"input_tokens":14}')
    with serving(tmp_path, [request, counted, until_closed]) as ((a, *_), plane):
        answer = say(plane, path=COUNT)
        assert answer.body == b'{"input_tokens":14}'
        assert a.requests[0].startswith(b"POST /v1/messages/count_tokens HTTP/1.1\r\n")
        record = plane.only_record().record
        assert (record.api, record.status, record.cost_usd) == ("count_tokens", "ok", 0.0)


def test_our_own_errors_have_anthropics_shape(tmp_path: Path) -> None:
    with serving(tmp_path, [until_closed]) as (_, plane):
        assert told(say(plane, {**SAID, "model": "nobody"})) == (404, "not_found_error")
        assert told(say(plane, {"max_tokens": 1})) == (400, "invalid_request_error")
        with plane.client() as client:
            client.send(get(MESSAGES))
            assert told(client.read()) == (405, "invalid_request_error")
        assert told(say(plane, path="/v1/messages/batches")) == (404, "not_found_error")


@pytest.mark.parametrize("header", ["x-api-key: {}", "authorization: Bearer {}"])
def test_our_key_may_come_in_either_header(tmp_path: Path, header: str) -> None:
    now = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
    _, secret = create_key(tmp_path / "keys.yaml", caller="billing", now=now)
    script = [request, response(WHOLE), until_closed]
    with serving(tmp_path, script, top="keys: {file: keys.yaml}") as ((a, *_), plane):
        assert told(say(plane)) == (401, "authentication_error")
        assert told(say(plane, SAID, header.format("x" * 20))) == (401, "authentication_error")
        assert say(plane, SAID, header.format(secret)).status == 200
        assert plane.only_record().record.caller == "billing"
        assert secret.encode() not in a.requests[0]
        with plane.client() as client:  # only on these paths
            assert client.ask(ASKED, f"x-api-key: {secret}").status == 401


def test_our_own_credential_refused_is_our_fault(tmp_path: Path) -> None:
    body = b'{"type":"error","error":{"type":"authentication_error","message":"bad key"}}'
    script = [*[request, response(body, status="401 Unauthorized")] * 4, until_closed]
    with serving(tmp_path, script) as (_, plane):
        assert told(say(plane)) == (502, "api_error")


def test_a_chat_request_is_not_translated_for_claude_and_the_reverse(tmp_path: Path) -> None:
    with serving(tmp_path, [until_closed]) as (upstreams, plane):
        with plane.client() as client:
            chat = client.ask({**ASKED, "model": "a"})
        assert chat.code == (400, "invalid_request_error", "unsupported_protocol")
        assert "/v1/messages" in chat.error["message"]
        answer = say(plane, {**SAID, "model": "gpt-route"})
        assert told(answer) == (400, "invalid_request_error")
        assert "/v1/chat/completions" in answer.json["error"]["message"]
        assert all(one.connections == [] for one in upstreams)


def test_openais_errors_from_a_misplaced_server_pass_all_the_same(tmp_path: Path) -> None:
    script = [*[request, error_answer("503 X")] * 4, until_closed]
    with serving(tmp_path, script) as (_, plane):
        assert say(plane).status == 503


JUDGED = "confidence: {from: [schema], accept: 0.5}, escalate: {to: [b], max_steps: 1}"


def test_an_answer_cut_at_its_limit_is_not_trusted(tmp_path: Path) -> None:
    cut = response(WHOLE.replace(b"end_turn", b"max_tokens"))
    fine = [request, response(WHOLE), until_closed]
    with serving(tmp_path, [request, cut, until_closed], fine, route=JUDGED) as (_, plane):
        assert say(plane).body == WHOLE
        assert plane.only_record().tried == [("primary", "a", None), ("escalation", "b", None)]


def test_a_count_of_tokens_is_not_judged(tmp_path: Path) -> None:
    counted = [request, response(b'{"input_tokens":14}'), until_closed]
    with serving(tmp_path, counted, route=JUDGED) as (_, plane):
        assert say(plane, path=COUNT).status == 200
        assert plane.only_record().tried == [("primary", "a", None)]
