"""Answered requests shown to a second backend: who is, when, and that no client ever waits."""

import json
import time
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from proxy import shadow
from telemetry.frames import Frame, Kind
from telemetry.record import LabelRecord
from telemetry.segments import SegmentReader, list_segments
from tests.support.plane import (
    ASKED,
    DONE,
    EVENTS,
    STREAMED,
    Plane,
    ask,
    completion,
    config,
    error_answer,
    stream_answer,
    usage_event,
    whole_answer,
)
from tests.support.raw_client import post
from tests.support.scripted import ScriptedUpstream, request, response, stall

EVERY = "shadow: {backend: b, share: 100%}"


def labels(plane):
    """Label frames in the journal, oldest first."""
    found = []
    for path in list_segments(plane.configuration.capture.directory / "journal"):
        with SegmentReader(path) as reader:
            scan = reader.read(0, 0, size=reader.size(), is_sealed=False)
            found += [
                msgspec.msgpack.decode(frame.payload, type=LabelRecord)
                for frame in scan.found
                if isinstance(frame, Frame) and frame.kind == Kind.LABEL
            ]
    return found


def wait_for_labels(plane, count=1):
    found = plane.wait_until(lambda: found if len(found := labels(plane)) >= count else None)
    assert len(found) == count
    return found


@contextmanager
def copying(directory: Path, first, second, route=EVERY, *, more_b="", top=""):
    """Backend `a` answers, backend `b` is shown the question as well. Both may play many calls."""
    with ScriptedUpstream(*first) as a, ScriptedUpstream(*second) as b:
        declared = f"adapter: openai, base_url: '{b.base_url}', model: m-b{more_b}"
        declared += ", price: {input: 1000, output: 1000}"
        text = config(f"  default: {{candidates: [a], {route}}}", a=a.base_url, b=declared, top=top)
        with Plane(directory, text) as plane:
            yield a, b, plane


def answers(*texts):
    return [[step for text in texts for step in (request, whole_answer(text))]]


def outcomes(plane, backend="b"):
    """Counts by outcome."""
    counters = plane.call(plane.data_plane.counters)
    return {
        dict(labels)["outcome"]: count
        for (name, labels), count in counters.items()
        if name == "pointsman_shadows_total" and dict(labels)["backend"] == backend
    }


def test_the_copys_answer_is_a_label_and_reaches_nobody(tmp_path):
    with copying(tmp_path, answers("1,250.10"), answers("1250.1")) as (_, _, plane):
        answer = ask(plane)
        assert answer.body == completion("1,250.10")
        (label,) = wait_for_labels(plane)
        (record,) = plane.records()
        assert label.request_id == record.record.id
        assert json.loads(label.output) == {"role": "assistant", "content": "1250.1"}
        assert (label.source, label.backend, label.route) == ("shadow", "b", "default")
        assert (label.probability, label.cost_usd, label.agrees) == (1.0, 0.008, True)
        assert [one.backend for one in record.record.attempts] == ["a"]
        assert record.record.cost_usd == pytest.approx(13e-6)
        assert outcomes(plane) == {"labelled": 1}
        assert plane.count("attempts_total", backend="b", kind="shadow", outcome="ok") == 1
        assert plane.count("requests_total", backend="b", route="default", status="ok") == 0


def test_it_is_asked_the_same_question_to_be_answered_whole(tmp_path):
    first = [[request, stream_answer(EVENTS, usage_event(), DONE)]]
    asked = {**STREAMED, "n": 1, "temperature": 0.5, "metadata": {"task": "x"}, "store": True}
    with copying(tmp_path, first, answers("hello")) as (_, b, plane):
        ask(plane, asked)
        (label,) = wait_for_labels(plane)
        sent = json.loads(b.requests[0].partition(b"\r\n\r\n")[2])
        assert sent == {"model": "m-b", "messages": ASKED["messages"], "temperature": 0.5}
        assert label.agrees is True


def test_the_client_has_its_answer_before_the_copy_is_sent(tmp_path):
    with copying(tmp_path, answers("x"), [[request, stall(5)]]) as (_, b, plane):
        assert ask(plane).status == 200
        b.wait_for_connection()


@pytest.mark.parametrize("share", ["0%", "30%"])
def test_the_share_is_drawn_by_the_decisions_seed(tmp_path, share):
    with copying(
        tmp_path, answers(*"x" * 40), answers(*"x" * 40), f"shadow: {{backend: b, share: {share}}}"
    ) as (_, _, plane):
        with plane.client() as client:
            for _ in range(40):
                client.ask(ASKED)
        records = [kept.record for kept in plane.wait_for_records(40)]
        drawn = {
            one.id
            for one in records
            if shadow.is_drawn(one.seed, float(share[:-1]) / 100, backend="b")
        }
        plane.wait_until(lambda: len(labels(plane)) == len(drawn))
        assert {label.request_id for label in labels(plane)} == drawn


def test_a_route_without_it_asks_nobody(tmp_path):
    with copying(tmp_path, answers("x"), [], "prefer: cheapest") as (_, _, plane):
        ask(plane)
        plane.wait_for_records(1)
        assert not plane.data_plane.shadows.is_on
        assert outcomes(plane) == {}


def test_the_reference_that_served_the_request_is_its_own_label(tmp_path):
    route = "shadow: {backend: a, share: 100%}"
    with copying(tmp_path, answers("x"), [], route) as (a, _, plane):
        ask(plane)
        (label,) = wait_for_labels(plane)
        assert (label.cost_usd, label.agrees, label.backend) == (0.0, True, "a")
        assert len(a.requests) == 1


def test_a_failed_copy_leaves_a_row_and_hurts_nobody(tmp_path):
    second = [[request, error_answer("500 Internal Server Error")] * 6]
    with copying(tmp_path, answers(*"x" * 6), second) as (_, _, plane):
        with plane.client() as client:
            assert {client.ask(ASKED).status for _ in range(6)} == {200}
        found = wait_for_labels(plane, 6)
        assert {(one.verdict, one.output, one.agrees) for one in found} == {("status", None, None)}
        assert outcomes(plane) == {"failed": 6}
        assert plane.data_plane.watch.state_of("b")["state"] == "ready"


def test_a_failed_request_is_not_copied(tmp_path):
    with copying(tmp_path, [[request, error_answer("400 Bad Request")]], []) as (_, _, plane):
        assert ask(plane).status == 400
        assert outcomes(plane) == {}


@pytest.mark.parametrize(("level", "copies"), [("metadata", 1), ("off", 0)])
def test_capture_says_what_is_kept_of_it(tmp_path, level, copies):
    with copying(tmp_path, answers("x"), answers("x")) as (_, _, plane):
        ask(plane, ASKED, f"x-pointsman-capture: {level}")
        plane.wait_for_records(1)
        found = wait_for_labels(plane) if copies else labels(plane)
        assert [one.output for one in found] == [None] * copies


def test_no_place_of_a_client_is_taken(tmp_path):
    """The backend serves one call at a time to clients; the copy hangs, a client is served."""
    second = [[request, stall(10)], [request, whole_answer("mine")]]
    with copying(tmp_path, answers("x"), second, more_b=", in_flight: 1") as (_, b, plane):
        ask(plane)
        b.wait_for_connection()
        assert ask(plane, {**ASKED, "model": "b"}).status == 200


def test_a_backend_clients_use_is_left_to_them(tmp_path):
    second = [[request, stall(0.4), whole_answer("client's")], [request, whole_answer("copy")]]
    with copying(tmp_path, answers("x"), second, more_b=", in_flight: 2") as (_, b, plane):
        with plane.client() as busy:
            busy.send(post({**ASKED, "model": "b"}))
            b.wait_for_connection()
            ask(plane)
            plane.wait_until(lambda: plane.call(plane.data_plane.shadows.state)["waiting"])
            assert len(b.connections) == 1
            assert busy.read().status == 200
        assert wait_for_labels(plane)[0].agrees is False


def test_who_waits_too_long_is_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(shadow, "WAIT_S_MAX", 0.0)
    monkeypatch.setattr(shadow, "LOOK_EVERY_S", 0.01)
    second = [[request, stall(1)]]
    with (
        copying(tmp_path, answers("x"), second, more_b=", in_flight: 2") as (_, b, plane),
        plane.client() as busy,
    ):
        busy.send(post({**ASKED, "model": "b"}))
        b.wait_for_connection()
        ask(plane)
        plane.wait_until(lambda: outcomes(plane).get("dropped_busy"))


def test_more_than_may_wait_are_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(shadow, "AT_ONCE_MAX", 1)
    monkeypatch.setattr(shadow, "WAITING_MAX", 2)
    with copying(tmp_path, answers(*"xxxxx"), [[request, stall(10)]]) as (_, _, plane):
        with plane.client() as client:
            for _ in range(5):
                client.ask(ASKED)
        plane.wait_until(lambda: outcomes(plane) == {"dropped_full": 2})
        state = plane.call(plane.data_plane.shadows.state)
        assert (state["running"], state["waiting"]) == (1, 2)
        assert repr(plane.data_plane.shadows) == "<Shadows running=1 waiting=2>"


def test_a_large_request_is_not_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(shadow, "BODY_BYTES_MAX", 10)
    with copying(tmp_path, answers("x"), []) as (_, _, plane):
        ask(plane)
        plane.wait_until(lambda: outcomes(plane) == {"dropped_too_large": 1})


def test_a_backend_out_of_order_is_left_alone(tmp_path):
    with copying(tmp_path, answers("x"), []) as (_, _, plane):
        plane.call(lambda: setattr(plane.data_plane.watch, "unavailable", {"b": "breaker open"}))
        ask(plane)
        plane.wait_until(lambda: outcomes(plane) == {"dropped_unavailable": 1})


def test_the_days_money_is_a_limit(tmp_path):
    """A copy costs $0.008; one hour's part of $0.48 a day is two and a half of them."""
    route = "shadow: {backend: b, share: 100%, budget: $0.48}"
    with copying(tmp_path, answers(*"xxxxx"), answers(*"xxxxx"), route) as (_, _, plane):
        with plane.client() as client:
            for number in range(1, 6):
                client.ask(ASKED)
                plane.wait_until(lambda n=number: sum(outcomes(plane).values()) == n)
        assert outcomes(plane) == {"labelled": 2, "dropped_budget": 3}
        state = plane.call(plane.data_plane.shadows.state)
        assert state["spent_usd"] == {"default shadow b": 0.016}


def test_a_drain_drops_what_waits_and_starts_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(shadow, "AT_ONCE_MAX", 1)
    with copying(tmp_path, answers(*"xxx"), [[request, stall(10)]]) as (_, b, plane):
        with plane.client() as client:
            client.ask(ASKED)
            client.ask(ASKED)
            b.wait_for_connection()
            plane.call(plane.data_plane.begin_drain)
            assert outcomes(plane) == {"dropped_drain": 1}
            client.ask(ASKED)
        plane.wait_for_records(3)
        assert outcomes(plane) == {"dropped_drain": 1}
        started_s = time.monotonic()
    assert time.monotonic() - started_s < 2.0
    assert labels(plane) == []


def test_a_reload_changes_who_is_asked(tmp_path):
    with copying(tmp_path, answers(*"xx"), answers(*"xx")) as (a, b, plane):
        ask(plane)
        wait_for_labels(plane)
        plane.reconfigure(config("  default: {candidates: [a]}", a=a.base_url, b=b.base_url))
        ask(plane)
        plane.wait_for_records(2)
        assert len(labels(plane)) == 1


def test_a_newcomers_order_is_no_reference(tmp_path):
    route = "canary: {backend: b, replaces: a, stages: [shadow, 100%], keep_if: {error: +1pp}}"
    with copying(tmp_path, answers(*"xx"), answers(*"xx"), route) as (_, _, plane):
        ask(plane)
        order = shadow.Order("b", 1.0, 10.0, "canary")
        plane.call(lambda: setattr(plane.data_plane.shadows, "newcomers", {"default": order}))
        ask(plane)
        (label,) = wait_for_labels(plane)
        assert (label.source, label.agrees) == ("canary", True)


def test_a_defect_in_a_copy_costs_no_client_its_answer(tmp_path, monkeypatch):
    def fail(*arguments):
        raise RuntimeError

    monkeypatch.setattr(shadow, "said_by", fail)
    with copying(tmp_path, answers("x"), []) as (_, _, plane):
        assert ask(plane).status == 200
        plane.wait_for_records(1)


def test_an_answer_too_large_to_read_is_no_label(tmp_path):
    huge = response(completion("y" * (5 << 20)))
    with copying(tmp_path, answers("x"), [[request, huge]]) as (_, _, plane):
        ask(plane)
        assert wait_for_labels(plane)[0].verdict == "oversize"
