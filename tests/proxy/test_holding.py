"""Streams that wait for their confidence, over real sockets."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.opinions import (
    END,
    HANGS,
    SURE,
    UNSURE,
    says,
    serving_all,
    streams,
    tokens,
)
from tests.support.plane import STREAMED, ask, event
from tests.support.raw_client import Answer, RawClient, post
from tests.support.scripted import (
    Script,
    chunk,
    chunked_head,
    request,
    reset,
    stall,
    until_closed,
)

LOGPROBS = "confidence: {from: logprobs, accept: 0.8}"
HOLD_5 = f"candidates: [a], {LOGPROBS}, escalate: {{to: [c]}}, hold: 5"
HOLD_ALL = f"candidates: [a], {LOGPROBS}, escalate: {{to: [c]}}"
HAS = ", logprobs: true"


def rest_of(client: RawClient, answer: Answer) -> Answer:
    while client.read_chunk(answer):
        pass
    return answer


def test_the_first_tokens_wait_then_all_flows(tmp_path: Path) -> None:
    script: Script = [
        request, chunked_head(), *tokens(4, SURE), stall(0.2), *tokens(1, SURE), stall(0.4),
        *tokens(2, SURE), *END,
    ]  # fmt: skip
    with (
        serving_all(tmp_path, HOLD_5, {"a": script, "c": HANGS}, HAS) as (upstreams, plane),
        plane.client() as client,
    ):
        began_s = time.monotonic()
        head = client.send(post(STREAMED)).read_head()
        assert 0.15 < time.monotonic() - began_s < 0.5
        assert head.header("x-pointsman-confidence") == "0.9512"
        answer = rest_of(client, head)
        assert answer.body.count(b'"content":"x "') == 7
        assert b'"logprob":' not in answer.body  # asked for by us alone
        assert time.monotonic() - began_s > 0.5
        kept = plane.only_record()
        assert kept.tried == [("primary", "a", None)]
        assert kept.record.confidence == pytest.approx(0.9512, abs=1e-4)
        assert not upstreams["c"].connections


@pytest.mark.parametrize(("route", "count"), [(HOLD_5, 5), (HOLD_ALL, 32)], ids=["tokens", "all"])
def test_a_hopeless_answer_is_aborted_early_and_escalated(
    tmp_path: Path, route: str, count: int
) -> None:
    script: Script = [request, chunked_head(), *tokens(count, UNSURE), until_closed]
    with serving_all(tmp_path, route, {"a": script, "c": streams("better")}, HAS) as (both, plane):
        answered = ask(plane, STREAMED)
        assert answered.header("x-pointsman-backend") == "c"
        assert b"better" in answered.body
        assert b'"content":"x "' not in answered.body
        assert both["a"].wait_until_finished().closed_how is not None
        kept = plane.only_record()
        assert kept.tried == [("primary", "a", "hopeless"), ("escalation", "c", None)]
        assert kept.record.attempts[0].confidence == pytest.approx(0.1353, abs=1e-4)
        assert kept.record.is_escalated
        assert plane.call(lambda: plane.data_plane.watch.unavailable) == {}
        assert plane.count("backend_in_flight", backend="a") == 0
        assert plane.count("attempts_total", kind="primary", outcome="hopeless", backend="a") == 1


def test_what_does_not_begin_as_json_is_aborted_at_its_first_token(tmp_path: Path) -> None:
    body: dict[str, Any] = {
        **STREAMED,
        "response_format": {
            "type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}},
        },
    }  # fmt: skip
    script: Script = [request, chunked_head(), chunk(event("Sure")), until_closed]
    route = "candidates: [a], confidence: {from: schema, accept: 0.5}, escalate: {to: [c]}"
    with serving_all(tmp_path, route, {"a": script, "c": streams("{}")}) as (_, plane):
        assert ask(plane, body).header("x-pointsman-backend") == "c"
        assert plane.only_record().tried[0] == ("primary", "a", "hopeless")


def test_nothing_is_aborted_where_nobody_else_can_be_asked(tmp_path: Path) -> None:
    script: Script = [request, chunked_head(), *tokens(40, UNSURE), *END]
    for number, route in enumerate((HOLD_5, HOLD_ALL)):
        directory = tmp_path / str(number)
        directory.mkdir()
        with serving_all(directory, route, {"a": script, "c": HANGS}, HAS) as (both, plane):
            plane.call(lambda p=plane: setattr(p.data_plane.watch, "unavailable", {"c": "x"}))
            answered = ask(plane, STREAMED)
            assert answered.header("x-pointsman-backend") == "a"
            assert answered.body.count(b'"content":"x "') == 40
            assert not both["c"].connections


def test_where_the_escalation_fails_the_answer_in_doubt_is_asked_for_again(tmp_path: Path) -> None:
    again: Script = [request, chunked_head(), *tokens(6, UNSURE), *END]
    script: Script = [request, chunked_head(), *tokens(6, UNSURE), until_closed]
    scripts = {"a": (script, again), "c": ([request, reset],)}
    with serving_all(tmp_path, HOLD_5, scripts, HAS) as (_, plane):
        answered = ask(plane, STREAMED)
        assert answered.body.count(b'"content":"x "') == 6
        assert plane.only_record().tried[:2] == [
            ("primary", "a", "hopeless"), ("escalation", "c", "reset"),
        ]  # fmt: skip
        assert plane.only_record().tried[2] == ("fallback", "a", None)
        assert answered.header("x-pointsman-attempts") == "3"


def test_a_short_answer_is_judged_as_a_whole(tmp_path: Path) -> None:
    script: Script = [request, chunked_head(), *tokens(2, UNSURE), *END]
    with serving_all(tmp_path, HOLD_5, {"a": script, "c": streams("y")}, HAS) as (_, plane):
        assert ask(plane, STREAMED).header("x-pointsman-backend") == "c"
        assert plane.only_record().tried == [("primary", "a", None), ("escalation", "c", None)]


def test_tokens_wait_for_nothing_where_nothing_tells_of_them(tmp_path: Path) -> None:
    script: Script = [request, chunked_head(), chunk(event("a")), stall(0.5), chunk(event("b")),
                      *END]  # fmt: skip
    for number, words in enumerate(("hold: 5", "hold: 1, confidence: {from: schema}")):
        directory = tmp_path / str(number)
        directory.mkdir()
        with (
            serving_all(directory, f"candidates: [a], {words}", {"a": script}) as (_, plane),
            plane.client() as client,
        ):
            began_s = time.monotonic()
            head = client.send(post(STREAMED)).read_head()
            assert time.monotonic() - began_s < 0.4
            assert rest_of(client, head).is_whole


def test_an_answer_that_is_not_streamed_is_judged_whole(tmp_path: Path) -> None:
    with serving_all(tmp_path, HOLD_5, {"a": says("x"), "c": HANGS}) as (_, plane):
        answered = ask(plane)
        assert json.loads(answered.body)["choices"][0]["message"]["content"] == "x"
