"""Two words at once, over real sockets: what happens around an answer, and one deadline for it."""

import json
import time
from pathlib import Path

import pytest

from tests.support.hedged import HEDGE, ready_to_hedge
from tests.support.opinions import (
    AGREE,
    END,
    HANGS,
    JUDGED,
    SURE,
    UNSURE,
    says,
    serving_all,
    streams,
    tokens,
)
from tests.support.plane import ASKED, STREAMED, ask, error_answer, event
from tests.support.scripted import Script, chunk, chunked_head, request, reset, stall, until_closed

HAS = ", logprobs: true"
LOGPROBS = "confidence: {from: logprobs, accept: 0.8}"
HEDGED = f"candidates: [a, d], {HEDGE}"


def test_agreement_is_with_whichever_of_two_attempts_was_first(tmp_path: Path) -> None:
    route = f"{HEDGED}, {AGREE}, escalate: {{to: [c]}}"
    scripts = {"a": HANGS, "b": says("42", after_s=0.2), "c": HANGS, "d": says("42")}
    with serving_all(tmp_path, route, scripts) as (upstreams, plane):
        ready_to_hedge(plane)
        answered = ask(plane)
        assert answered.header("x-pointsman-backend") == "d"
        assert answered.header("x-pointsman-confidence") == "1.0000"
        assert answered.header("x-pointsman-attempts") == "3"
        kept = plane.only_record()
        assert sorted(kept.tried) == [
            ("agreement", "b", None), ("hedge", "d", None), ("primary", "a", "hedge_lost")
        ]  # fmt: skip
        assert upstreams["a"].wait_until_finished().closed_at is not None
        assert int(answered.header("x-pointsman-overhead-us") or 0) < 100_000


def test_where_both_attempts_fail_the_third_is_compared(tmp_path: Path) -> None:
    route = f"{HEDGED}, {AGREE}, escalate: {{to: [c]}}, on_failure: [e]"
    broken: Script = [request, stall(0.15), reset]
    scripts = {"a": broken, "b": says("7"), "c": HANGS, "d": broken, "e": says("7")}
    with serving_all(tmp_path, route, scripts) as (_, plane):
        ready_to_hedge(plane)
        answered = ask(plane)
        assert answered.header("x-pointsman-backend") == "e"
        assert answered.header("x-pointsman-confidence") == "1.0000"


def test_a_hopeless_first_attempt_leaves_the_second_its_chance(tmp_path: Path) -> None:
    route = f"{HEDGED}, {LOGPROBS}, escalate: {{to: [c]}}, hold: 5"
    slow: Script = [
        request, stall(0.15), chunked_head(), *tokens(5, UNSURE), until_closed
    ]  # fmt: skip
    good: Script = [request, stall(0.3), chunked_head(), *tokens(6, SURE), *END]
    with serving_all(tmp_path, route, {"a": slow, "d": good, "c": HANGS}, HAS) as (both, plane):
        ready_to_hedge(plane)
        assert ask(plane, STREAMED).header("x-pointsman-backend") == "d"
        assert sorted(plane.only_record().tried) == [
            ("hedge", "d", None), ("primary", "a", "hopeless")
        ]  # fmt: skip
        assert not both["c"].connections


def test_tokens_that_flow_abort_the_other_attempt(tmp_path: Path) -> None:
    route = f"{HEDGED}, {LOGPROBS}, hold: 5"
    slow: Script = [request, stall(0.15), chunked_head(), *tokens(6, SURE), stall(0.2), *END]
    with serving_all(tmp_path, route, {"a": slow, "d": HANGS}, HAS) as (both, plane):
        ready_to_hedge(plane)
        assert ask(plane, STREAMED).header("x-pointsman-backend") == "a"
        assert both["d"].wait_until_finished().closed_at is not None
        assert plane.only_record().tried == [("primary", "a", None), ("hedge", "d", "hedge_lost")]


def test_the_answer_of_a_fallback_is_judged(tmp_path: Path) -> None:
    route = f"candidates: [a], on_failure: [d], {JUDGED}, escalate: {{to: [c]}}"
    too_long: Script = [request, error_answer("400 X", code="content_filter")]
    scripts = {"a": too_long, "d": says("x"), "j": says("0.2"), "c": says("y")}
    with serving_all(tmp_path, route, scripts) as (_, plane):
        assert ask(plane).header("x-pointsman-backend") == "c"
        assert plane.only_record().tried == [
            ("primary", "a", "status"), ("fallback", "d", None), ("judge", "j", None),
            ("escalation", "c", None),
        ]  # fmt: skip


def test_a_stream_without_hope_is_not_judged(tmp_path: Path) -> None:
    rule = "confidence: {from: [schema], judge: j, accept: 0.8}"
    schema = {"name": "n", "schema": {"type": "object"}}
    body = {**STREAMED, "response_format": {"type": "json_schema", "json_schema": schema}}
    script: Script = [request, chunked_head(), chunk(event("Well")), until_closed]
    scripts = {"a": script, "j": HANGS, "c": streams("{}")}
    route = f"candidates: [a], {rule}, escalate: {{to: [c]}}"
    with serving_all(tmp_path, route, scripts) as (both, plane):
        assert ask(plane, body).header("x-pointsman-backend") == "c"
        assert not both["j"].connections


def test_a_conversation_goes_on_with_who_it_was_escalated_to(tmp_path: Path) -> None:
    rule = f"candidates: [a, c], {AGREE}, escalate: {{to: [c]}}, sticky: conversation"
    scripts = {"a": says("1"), "b": says("2", more=3), "c": says("2", more=3)}
    with serving_all(tmp_path, rule, scripts) as (upstreams, plane):
        assert ask(plane).header("x-pointsman-backend") == "c"
        again = ask(plane)
        assert again.header("x-pointsman-backend") == "c"
        assert again.header("x-pointsman-attempts") == "2"  # itself, and b to compare with
        assert len(upstreams["a"].connections[0].requests) == 1
        first, second = [kept.record for kept in plane.wait_for_records(2)]
        assert (first.is_escalated, second.is_escalated) == (True, False)
        assert (first.is_sticky, second.is_sticky) == (False, True)


@pytest.mark.parametrize("allowed_s", [0.4, 0.8])
def test_one_deadline_for_all_that_may_happen(tmp_path: Path, allowed_s: float) -> None:
    rule = "confidence: {from: agreement, agree_with: b, judge: j, accept: 0.8}"
    route = f"{HEDGED}, {rule}, escalate: {{to: [c]}}"
    scripts = {"a": HANGS, "b": HANGS, "c": HANGS, "d": says("x", after_s=0.1), "j": HANGS}
    with serving_all(tmp_path, route, scripts) as (upstreams, plane):
        ready_to_hedge(plane)
        began_s = time.monotonic()
        answered = ask(plane, ASKED, f"x-pointsman-deadline-ms: {int(allowed_s * 1000)}")
        assert time.monotonic() - began_s < allowed_s
        assert json.loads(answered.body)["choices"][0]["message"]["content"] == "x"
        for name in ("a", "b"):
            assert upstreams[name].wait_until_finished().closed_at is not None


def test_an_escalation_that_is_late_leaves_what_there_is_within_the_deadline(
    tmp_path: Path,
) -> None:
    route = f"candidates: [a], {AGREE}, escalate: {{to: [c]}}"
    with serving_all(tmp_path, route, {"a": says("1"), "b": says("2"), "c": HANGS}) as (_, plane):
        began_s = time.monotonic()
        answered = ask(plane, ASKED, "x-pointsman-deadline-ms: 400")
        assert 0.35 < time.monotonic() - began_s < 0.6
        assert answered.header("x-pointsman-backend") == "a"
        assert answered.header("x-pointsman-confidence") == "0.0000"
