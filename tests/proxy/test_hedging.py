"""Two attempts at once, over real sockets: one answer, one record, the other one aborted."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.hedged import HEDGE, allow, ready_to_hedge
from tests.support.plane import (
    ASKED,
    DONE,
    EVENTS,
    STREAMED,
    Plane,
    ask,
    config,
    error_answer,
    event,
    serving_two,
    stream_answer,
    usage_event,
    whole_answer,
)
from tests.support.raw_client import post
from tests.support.scripted import (
    Script,
    ScriptedUpstream,
    chunk,
    chunked_head,
    request,
    reset,
    stall,
    until_closed,
)

SLOW: Script = [request, until_closed]
STREAM = stream_answer(EVENTS, usage_event() + DONE)
BOTH = f"candidates: [a, b], {HEDGE}"


@contextmanager
def hedging(
    directory: Path, first: Script, second: Script, route: str = BOTH, **more: str
) -> Iterator[tuple[ScriptedUpstream, ScriptedUpstream, Plane]]:
    """Candidates `a` and `b`; a hedge is due after 50 ms, and there is room for it."""
    with ScriptedUpstream(first) as a, ScriptedUpstream(second) as b:
        text = config(f"  default: {{{route}}}", a=a.base_url, b=b.base_url, **more)
        with Plane(directory, text) as plane:
            ready_to_hedge(plane)
            yield a, b, plane


@pytest.mark.parametrize(
    ("body", "answer"), [(ASKED, whole_answer()), (STREAMED, STREAM)], ids=["whole", "stream"]
)
def test_a_late_answer_is_overtaken_and_aborted(
    tmp_path: Path, body: dict[str, Any], answer: bytes
) -> None:
    with hedging(tmp_path, SLOW, [request, answer]) as (a, _b, plane):
        answered = ask(plane, body)
        at_s = time.monotonic()
        assert (answered.status, answered.header("x-pointsman-attempts")) == (200, "2")
        assert answered.header("x-pointsman-backend") == "b"
        late = a.wait_until_finished()
        assert late.closed_at is not None
        assert late.closed_at - at_s < 0.1
        kept = plane.only_record()
        assert kept.tried == [("primary", "a", "hedge_lost"), ("hedge", "b", None)]
        assert kept.response == answered.body
        lost, won = kept.record.attempts
        assert (lost.won, lost.cost_usd, lost.body) == (False, None, None)
        assert won.won
        assert won.cost_usd == kept.record.cost_usd == pytest.approx(13e-6)
        assert (kept.record.decided, kept.record.backend) == ("a", "b")
        assert won.start_us >= 45_000
        assert lost.total_us < 1_000_000
        counted = {"kind": "primary", "outcome": "hedge_lost", "backend": "a"}
        assert plane.count("attempts_total", **counted) == 1
        assert plane.count("attempts_total", kind="hedge", outcome="ok", backend="b") == 1
        assert plane.count("backend_in_flight", backend="a") == 0


def test_our_own_time_counts_what_both_waited_for_once(tmp_path: Path) -> None:
    with hedging(tmp_path, SLOW, [request, stall(0.2), whole_answer()]) as (_, _, plane):
        assert 0 < int(ask(plane).header("x-pointsman-overhead-us") or 0) < 45_000


@pytest.mark.parametrize(
    ("body", "answer"), [(ASKED, whole_answer()), (STREAMED, STREAM)], ids=["whole", "stream"]
)
def test_an_answer_in_time_is_not_asked_twice(
    tmp_path: Path, body: dict[str, Any], answer: bytes
) -> None:
    with hedging(tmp_path, [request, answer], SLOW) as (_, b, plane):
        assert ask(plane, body).header("x-pointsman-attempts") == "1"
        assert plane.only_record().tried == [("primary", "a", None)]
        assert not b.connections


def test_a_stream_that_began_in_time_may_take_its_time(tmp_path: Path) -> None:
    first, rest = event("he", usage=None), EVENTS[len(event("he", usage=None)) :]
    script = [request, chunked_head(), chunk(first), stall(0.2), chunk(rest + usage_event() + DONE)]
    with hedging(tmp_path, [*script, chunk(b"")], SLOW) as (_, b, plane), plane.client() as client:
        assert client.send(post(STREAMED)).read_head().status == 200
        time.sleep(0.3)
        assert not b.connections


def test_what_the_client_is_not_shown_is_a_beginning_too(tmp_path: Path) -> None:
    script: Script = [request, chunked_head(), chunk(usage_event()), stall(0.2), chunk(EVENTS)]
    with hedging(tmp_path, [*script, chunk(DONE), chunk(b"")], SLOW) as (_, b, plane):
        assert ask(plane, STREAMED).header("x-pointsman-attempts") == "1"
        assert not b.connections


def test_half_an_answer_that_was_overtaken_is_not_kept(tmp_path: Path) -> None:
    half: Script = [request, whole_answer()[:-20], until_closed]
    with hedging(tmp_path, half, [request, stall(0.05), whole_answer()]) as (_, _, plane):
        assert ask(plane).status == 200
        lost, won = plane.only_record().record.attempts
        assert (lost.error_type, lost.body, won.won) == ("hedge_lost", None, True)
        assert lost.first_byte_us is not None


def test_being_overtaken_is_no_failure_of_a_backend(tmp_path: Path) -> None:
    answers: Script = [request, whole_answer()] * 6
    with hedging(tmp_path, SLOW, answers) as (a, _, plane):
        for _ in range(6):
            allow(plane)
            assert ask(plane).header("x-pointsman-backend") == "b"
        assert len(a.connections) == 6
        assert plane.call(lambda: plane.data_plane.watch.unavailable) == {}


def test_the_first_may_still_be_first(tmp_path: Path) -> None:
    with hedging(tmp_path, [request, stall(0.15), whole_answer()], SLOW) as (_, b, plane):
        answered = ask(plane)
        at_s = time.monotonic()
        assert answered.header("x-pointsman-backend") == "a"
        late = b.wait_until_finished()
        assert late.closed_at is not None
        assert late.closed_at - at_s < 0.1
        kept = plane.only_record()
        assert kept.tried == [("primary", "a", None), ("hedge", "b", "hedge_lost")]
        assert [one.won for one in kept.record.attempts] == [True, False]


def test_the_same_backend_is_asked_where_there_is_no_other(tmp_path: Path) -> None:
    with ScriptedUpstream(SLOW, [request, whole_answer()]) as a:
        text = config(f"  default: {{candidates: [a], {HEDGE}}}", a=a.base_url)
        with Plane(tmp_path, text) as plane:
            ready_to_hedge(plane)
            assert ask(plane).status == 200
            kept = plane.only_record()
            assert kept.tried == [("primary", "a", "hedge_lost"), ("hedge", "a", None)]
            assert len(a.connections) == 2


@pytest.mark.parametrize("fails", ["first", "second"])
def test_where_one_fails_the_other_is_waited_for(tmp_path: Path, fails: str) -> None:
    broken: Script = [request, stall(0.1), reset]
    good: Script = [request, stall(0.3), whole_answer()]
    first, second = (broken, good) if fails == "first" else (good, broken)
    with hedging(tmp_path, first, second) as (_, _, plane):
        answered = ask(plane)
        assert (answered.status, answered.header("x-pointsman-attempts")) == (200, "2")
        kept = plane.only_record()
        ends = [("primary", "a", None), ("hedge", "b", None)]
        at = 0 if fails == "first" else 1
        ends[at] = (*ends[at][:2], "reset")
        assert kept.tried == ends
        assert kept.record.attempts[1 - at].won


def test_where_both_fail_one_more_attempt_is_left(tmp_path: Path) -> None:
    broken: Script = [request, stall(0.1), reset]
    with ScriptedUpstream([request, whole_answer()]) as c:
        route, third = f"{BOTH}, on_failure: [c]", c.base_url
        with hedging(tmp_path, broken, broken, route, c=third) as (_, _, plane):
            assert ask(plane).header("x-pointsman-attempts") == "3"
            assert plane.only_record().tried == [
                ("primary", "a", "reset"),
                ("hedge", "b", "reset"),
                ("fallback", "c", None),
            ]


def test_a_refusal_that_is_the_clients_to_mend_is_passed_on(tmp_path: Path) -> None:
    refused: Script = [request, stall(0.1), error_answer("400 Bad Request")]
    with hedging(tmp_path, refused, [request, stall(0.2), reset]) as (_, _, plane):
        assert ask(plane).status == 400
        assert [end for _, _, end in plane.only_record().tried] == ["status", "reset"]


def test_without_room_no_request_is_sent_twice(tmp_path: Path) -> None:
    late: Script = [request, stall(0.15), whole_answer(), request, stall(0.15), whole_answer()]
    with hedging(tmp_path, late, [request, stall(1), whole_answer()]) as (_, b, plane):
        allow(plane, requests=18)
        with plane.client() as client:
            assert client.ask(ASKED).header("x-pointsman-attempts") == "1"
            assert not b.connections
            assert client.ask(ASKED).header("x-pointsman-attempts") == "2"  # the twentieth


def test_what_is_not_known_is_not_hedged(tmp_path: Path) -> None:
    late: Script = [request, stall(0.15), whole_answer()]
    with serving_two(tmp_path, late, SLOW, f"on_failure: [b], {HEDGE}") as (a, b, plane):
        allow(plane)
        assert ask(plane).header("x-pointsman-attempts") == "1"
        assert (len(a.connections), len(b.connections)) == (1, 0)


def test_a_client_that_goes_ends_both(tmp_path: Path) -> None:
    with hedging(tmp_path, SLOW, SLOW) as (a, b, plane):
        with plane.client() as client:
            client.send(post(ASKED))
            b.wait_for_connection()
            time.sleep(0.05)
        at_s = time.monotonic()
        for upstream in (a, b):
            gone = upstream.wait_until_finished()
            assert gone.closed_at is not None
            assert gone.closed_at - at_s < 0.1
        kept = plane.only_record()
        assert kept.tried == [("primary", "a", "client_gone"), ("hedge", "b", "client_gone")]
        assert kept.ended == ("client_gone", False, None, "client_gone")


def test_the_deadline_ends_both(tmp_path: Path) -> None:
    with hedging(tmp_path, SLOW, SLOW) as (a, b, plane):
        answered = ask(plane, ASKED, "x-pointsman-deadline-ms: 200")
        assert (answered.status, answered.error["code"]) == (504, "deadline_exceeded")
        assert [end for _, _, end in plane.only_record().tried] == ["timeout", "timeout"]
        a.wait_until_finished()
        b.wait_until_finished()


def test_each_has_its_own_limit_for_the_first_token(tmp_path: Path) -> None:
    route = f"{BOTH}, timeout: {{total: 9s, first_token: 200ms}}"
    with hedging(tmp_path, SLOW, [request, stall(0.17), whole_answer()], route) as (_, _, plane):
        assert ask(plane).status == 200
        assert plane.only_record().tried == [("primary", "a", "timeout"), ("hedge", "b", None)]


JUDGED = (
    f"{BOTH}, confidence: {{from: checks, accept: 0.5}}, checks: [number], "
    "escalate: {to: [TARGET], max_steps: 1}"
)
CHECKS = "checks:\n  number: {at: '', schema: {type: number}}\n"


@pytest.mark.parametrize(
    ("to", "tried"),
    [
        ("b", [("primary", "a", None), ("hedge", "b", None)]),
        ("c", [("primary", "a", None), ("hedge", "b", "hedge_lost"), ("escalation", "c", None)]),
    ],
    ids=["asked already", "somebody else"],
)
def test_an_answer_in_doubt_goes_to_who_is_next(
    tmp_path: Path, to: str, tried: list[tuple[str, str, str | None]]
) -> None:
    doubted: Script = [request, stall(0.15), whole_answer("no number")]
    other: Script = [request, stall(0.3), whole_answer("2")]
    with ScriptedUpstream([request, whole_answer("3")]) as c:
        route, third = JUDGED.replace("TARGET", to), c.base_url
        with hedging(tmp_path, doubted, other, route, top=CHECKS, c=third) as (_, _, plane):
            assert ask(plane).header("x-pointsman-backend") == to
            assert plane.only_record().tried == tried


def test_an_answer_in_doubt_waits_no_longer_than_escalation_may_take(tmp_path: Path) -> None:
    doubted: Script = [request, stall(0.15), whole_answer("no number")]
    route = JUDGED.replace("TARGET", "b").replace("max_steps: 1", "within: 300ms")
    with hedging(tmp_path, doubted, SLOW, route, top=CHECKS) as (_, _, plane):
        answered = ask(plane)
        assert (answered.status, answered.header("x-pointsman-backend")) == (200, "a")
        kept = plane.only_record()
        assert kept.tried == [("primary", "a", None), ("hedge", "b", "timeout")]
        assert kept.record.total_us < 1_000_000


def test_a_doubted_answer_is_no_longer_waiting_once_another_is_shown(tmp_path: Path) -> None:
    doubted: Script = [request, stall(0.15), whole_answer("no number")]
    large = whole_answer("1" * (5 << 20))
    route = JUDGED.replace("TARGET", "b")
    with hedging(tmp_path, doubted, [request, stall(0.3), large], route, top=CHECKS) as opened:
        plane = opened[2]
        assert ask(plane).header("x-pointsman-backend") == "b"
        assert plane.only_record().tried == [("primary", "a", None), ("hedge", "b", None)]
