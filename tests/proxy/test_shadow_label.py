"""What is made of a copy's answer."""

import json
from types import SimpleNamespace

import msgspec
import pytest

from adapters.chat_reader import ChatReader
from pointsman.tokens import Usage
from policies.schema_check import SchemaCheck
from policies.words import Check, Route
from proxy.endpoints import CHAT, MESSAGES
from proxy.shadow import Order
from proxy.shadow_label import SPOILT, Said, agreement, label_of, said_by, score_of
from telemetry.rows import input_hash
from tests.support.plane import DONE, EVENTS, completion

BODY = b'{"model":"auto","messages":[{"role":"user","content":"Payoff 1,250.10?"}]}'
ROUTE = Route(name="extract", candidates=("local",))


def question(**more):
    kept = {
        "order": Order("o3-mini", 0.02),
        "request_id": "r1",
        "body": BODY,
        "route": ROUTE,
        "capture": "full",
        "endpoint": CHAT,
        "served": Said("1250.1", {}),
    }
    return SimpleNamespace(**{**kept, **more})


def read(body):
    reader = ChatReader(1, True)
    reader.read_whole(body)
    return said_by(CHAT, reader, body)


def test_a_whole_answer_is_its_message_without_what_is_empty():
    body = completion("1250.10")
    said = read(body.replace(b'"role"', b'"refusal": null, "annotations": [], "role"'))
    assert said.message == {"role": "assistant", "content": "1250.10"}
    assert (said.text, said.finish_reason, said.model) == ("1250.10", "stop", "real-model")


def test_a_stream_is_its_text():
    reader = ChatReader(1, True)
    reader.read_events(EVENTS + DONE)
    assert said_by(CHAT, reader, b"").message == {"role": "assistant", "content": "hello"}


def test_another_api_is_its_text():
    reader = ChatReader(1, True)
    reader.read_whole(completion("hello"))
    assert said_by(MESSAGES, reader, completion("no"))[:2] == (
        "hello",
        {"role": "assistant", "content": "hello"},
    )


def test_a_label_says_who_what_and_with_which_chance():
    label = label_of(
        question(), read(completion("1,250.10")), cost_usd=0.01, usage=Usage(3, 5), took_us=7
    )
    assert json.loads(label.output) == {"role": "assistant", "content": "1,250.10"}
    assert (label.source, label.backend, label.route, label.model) == (
        "shadow", "o3-mini", "extract", "real-model",
    )  # fmt: skip
    assert (label.cost_usd, label.probability, label.total_us) == (0.01, 0.02, 7)
    assert (label.verdict, label.agrees, label.usage.completion) == (None, True, 5)
    assert label.input_hash == input_hash(BODY)


def test_another_value_does_not_agree():
    assert label_of(question(), read(completion("1250.11")), cost_usd=None).agrees is False


def test_metadata_keeps_everything_but_the_text():
    label = label_of(question(capture="metadata"), read(completion("1250.1")), cost_usd=0.01)
    assert (label.output, label.agrees, label.verdict, label.cost_usd) == (None, True, None, 0.01)


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (read(completion("x", finish="length")), "truncated"),
        (read(completion("x", finish="content_filter")), "filtered"),
        (read(completion("")), "empty"),
        (Said(None, {"role": "assistant", "refusal": "no"}), "refusal"),
        (Said(None, None, has_tool_calls=True), "unread"),
        (Said(None, None), "empty"),
    ],
)
def test_what_teaches_nothing_is_kept_without_its_text(said, verdict):
    label = label_of(question(), said, cost_usd=0.01)
    assert (label.verdict, label.output, label.agrees, label.score) == (verdict, None, None, None)
    assert label.cost_usd == 0.01
    assert verdict in SPOILT


def test_a_copy_that_failed_leaves_a_row_too():
    label = label_of(question(), None, failure="timeout", cost_usd=None)
    assert (label.verdict, label.output, label.model) == ("timeout", None, None)


def test_tool_calls_are_whole_and_not_compared():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    body = json.loads(completion(""))
    body["choices"][0]["message"] = {"role": "assistant", "content": None, "tool_calls": [call]}
    said = read(json.dumps(body).encode())
    label = label_of(question(), said, cost_usd=None)
    assert json.loads(label.output) == {"role": "assistant", "tool_calls": [call]}
    assert (label.verdict, label.agrees) == (None, None)


def test_agreement_is_of_values():
    assert agreement(Said('{"a": 1}'), Said('{ "a": 1.0 }')) is True
    assert agreement(Said("10"), Said("100")) is False
    assert agreement(Said(None), Said("1")) is None


def test_the_routes_checks_score_it():
    check = Check("amount", "/payoff", SchemaCheck({"type": "number"}), in_prompt=True)
    asked = question(route=msgspec.structs.replace(ROUTE, checks=(check,)))
    assert score_of(asked, Said('{"payoff": 1250.1}')) == 1.0
    assert score_of(asked, Said('{"payoff": 9}')) == 0.0
    assert score_of(question(), Said("anything")) is None


def test_a_request_that_cannot_be_read_again_has_no_score():
    assert score_of(question(body=b"{}"), Said("x")) is None
