import json

import pytest

from adapters.target import Target
from learning import asking
from learning.asking import open_asker, playing, wire_request
from tests.support.backends import answering, backends_of, questions, scripted
from tests.support.scripted import (
    LAST_CHUNK,
    ScriptedUpstream,
    chunk,
    chunked_head,
    fin,
    request,
    response,
    stall,
    until_closed,
)

BODY = {"messages": [{"role": "user", "content": "Payoff?"}], "temperature": 0}


def event(**members):
    return b"data: " + json.dumps(members).encode() + b"\n\n"


def part(content, finish=None):
    return event(
        model="m-1",
        choices=[{"index": 0, "delta": {"content": content}, "finish_reason": finish}],
    )


USAGE = event(
    choices=[],
    usage={
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "completion_tokens_details": {"reasoning_tokens": 40},
    },
)
WHOLE = b"".join([part("12"), part("50", "stop"), USAGE, b"data: [DONE]\n\n"])


def stream(data):
    return [request, chunked_head() + chunk(data) + LAST_CHUNK, until_closed]


async def ask(*scripts, timeout_s=5.0, **changes):
    with ScriptedUpstream(*scripts) as upstream:
        async with open_asker(timeout_s=timeout_s, connections=2) as asker:
            reply = await asker.ask(scripted(upstream.port, **changes), BODY)
        return reply, upstream.requests


async def test_a_streamed_answer_is_read_timed_and_priced():
    reply, requests = await ask(stream(WHOLE))
    assert (reply.text, reply.error_type, reply.finish_reason) == ("1250", None, "stop")
    assert (reply.usage.prompt, reply.usage.completion, reply.usage.reasoning) == (100, 50, 40)
    assert reply.cost_usd == pytest.approx((100 * 1.0 + 50 * 2.0) / 1e6)
    assert 0 < reply.first_token_us <= reply.total_us
    assert reply.model == "m-1"
    head, _, body = requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    sent = json.loads(body)
    assert (sent["model"], sent["stream"], sent["temperature"]) == ("m", True, 0)
    assert sent["stream_options"] == {"include_usage": True}


async def test_a_whole_answer_is_read_too():
    whole = {"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}]}
    reply, _ = await ask([request, response(json.dumps(whole).encode()), until_closed])
    assert (reply.text, reply.usage.prompt, reply.cost_usd) == ("x", None, None)


@pytest.mark.parametrize(
    ("script", "error_type"),
    [
        ([request, response(b"{}", status="400 Bad Request"), until_closed], "status_400"),
        ([request, response(b"<html>", content_type="text/html"), until_closed], "unreadable"),
        ([request, fin], "connection"),
        ([request, chunked_head() + chunk(part("12")), fin], "cut_stream"),
        (stream(part("12")), "cut_stream"),
        (stream(event(error={"message": "overloaded"})), "upstream_error"),
        ([request, stall(9)], "timeout"),
        ([request, chunked_head() + chunk(part("1")), stall(9)], "timeout"),
    ],
)  # fmt: skip
async def test_a_failure_is_an_answer_with_its_kind(script, error_type):
    reply, _ = await ask(script, timeout_s=0.3)
    assert (reply.text, reply.error_type) == (None, error_type)
    assert reply.total_us > 0


async def test_a_backend_that_says_later_is_asked_again():
    busy = response(b"{}", "retry-after: 0.01", status="429 Too Many Requests")
    reply, requests = await ask([request, busy, *stream(WHOLE)])
    assert (reply.text, reply.tries, len(requests)) == ("1250", 2, 2)


async def test_later_is_said_only_so_often(monkeypatch):
    monkeypatch.setattr(asking, "TRIES_MAX", 2)
    busy = response(b"{}", "retry-after: soon", status="503 Service Unavailable")
    monkeypatch.setattr(asking, "WAIT_S", 0.01)
    reply, requests = await ask([request, busy, request, busy, until_closed])
    assert (reply.error_type, reply.tries, len(requests)) == ("status_503", 2, 2)


async def test_an_answer_beyond_the_limit_is_given_up(monkeypatch):
    monkeypatch.setattr(asking, "ANSWER_BYTES_MAX", 50)
    reply, _ = await ask(stream(WHOLE))
    assert reply.error_type == "too_large"


async def test_nobody_listening_is_a_failed_connection():
    async with open_asker(timeout_s=5, connections=1) as asker:
        reply = await asker.ask(scripted(1), BODY)
    assert reply.error_type == "connection"


async def test_simulated_backends_are_played(tmp_path):
    asked = questions(1)
    backends = backends_of(answering(tmp_path, asked), a="error_rate: 0%")
    async with (
        playing(backends) as reachable,
        open_asker(timeout_s=5, connections=1) as asker,
    ):
        reply = await asker.ask(reachable["a"], asked[0].body)
    assert json.loads(reply.text) == {"payoff": 0}
    assert 0 < reply.confidence < 1


def test_the_key_goes_where_it_belongs():
    url, headers, _ = wire_request(Target(scripted(9)), BODY)
    assert url == "http://127.0.0.1:9/v1/chat/completions"
    assert "authorization" not in headers
    assert headers["content-type"] == "application/json"
