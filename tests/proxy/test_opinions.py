"""Second answers and judges, over real sockets: when they are asked, waited for and believed."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from proxy import opinions
from tests.support.opinions import AGREE, HANGS, JUDGED, says, serving_all, streams
from tests.support.plane import ASKED, STREAMED, Plane, ask, completion, config, error_answer
from tests.support.raw_client import post
from tests.support.scripted import Script, ScriptedUpstream, request, reset, response, stall

ESCALATING = f"candidates: [a], {AGREE}, escalate: {{to: [c]}}"
INTO_SECOND = f"candidates: [a], {AGREE}, escalate: {{to: [b, c]}}"
JUDGING = f"candidates: [a], {JUDGED}, escalate: {{to: [c]}}"


def attempts_of(plane: Plane) -> list[tuple[str, str, str | None]]:
    return plane.only_record().tried


# -- agreement -----------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [ASKED, STREAMED], ids=["whole", "stream"])
def test_two_that_agree_are_accepted(tmp_path: Path, body: dict[str, Any]) -> None:
    say = says if body is ASKED else streams
    scripts = {"a": say("it is 1,250.10"), "b": say("So: 1250.1"), "c": HANGS}
    with serving_all(tmp_path, ESCALATING, scripts) as (upstreams, plane):
        answered = ask(plane, body)
        assert answered.header("x-pointsman-backend") == "a"
        assert answered.header("x-pointsman-confidence") == "1.0000"
        assert answered.header("x-pointsman-attempts") == "2"
        kept = plane.only_record()
        assert kept.tried == [("primary", "a", None), ("agreement", "b", None)]
        assert [one.won for one in kept.record.attempts] == [True, False]
        assert not kept.record.is_escalated
        assert not upstreams["c"].connections
        if body is ASKED:  # these streams report no usage
            costs = [one.cost_usd for one in kept.record.attempts]
            assert costs == [pytest.approx(13e-6)] * 2
            assert kept.record.cost_usd == pytest.approx(26e-6)
            assert float(answered.header("x-pointsman-cost-usd") or 0) == pytest.approx(26e-6)
        assert plane.count("attempts_total", kind="agreement", outcome="ok", backend="b") == 1


@pytest.mark.parametrize("body", [ASKED, STREAMED], ids=["whole", "stream"])
def test_two_that_disagree_are_escalated(tmp_path: Path, body: dict[str, Any]) -> None:
    say = says if body is ASKED else streams
    scripts = {"a": say("10"), "b": say("100"), "c": say("100")}
    with serving_all(tmp_path, ESCALATING, scripts) as (_, plane):
        answered = ask(plane, body)
        assert answered.header("x-pointsman-backend") == "c"
        assert answered.header("x-pointsman-confidence") == "1.0000"  # it agrees with b
        kept = plane.only_record()
        assert kept.tried == [
            ("primary", "a", None), ("agreement", "b", None), ("escalation", "c", None)
        ]  # fmt: skip
        assert [one.confidence for one in kept.record.attempts] == [0.0, None, 1.0]
        assert kept.record.is_escalated


def test_both_are_asked_at_once_and_no_time_is_added(tmp_path: Path) -> None:
    scripts = {"a": says("7", after_s=0.3), "b": says("7", after_s=0.3), "c": HANGS}
    with serving_all(tmp_path, ESCALATING, scripts) as (_, plane):
        began_s = time.monotonic()
        answered = ask(plane)
        assert time.monotonic() - began_s < 0.5
        assert int(answered.header("x-pointsman-overhead-us") or 0) < 100_000
        first, second = plane.only_record().record.attempts
        assert second.start_us - first.start_us < 50_000


def test_the_second_answer_is_the_escalation_where_that_goes_there(tmp_path: Path) -> None:
    scripts = {"a": says("10"), "b": says("100"), "c": HANGS}
    with serving_all(tmp_path, INTO_SECOND, scripts) as (upstreams, plane):
        answered = ask(plane)
        assert answered.header("x-pointsman-backend") == "b"
        assert json.loads(answered.body)["choices"][0]["message"]["content"] == "100"
        kept = plane.only_record()
        assert kept.tried == [("primary", "a", None), ("agreement", "b", None)]
        assert [one.won for one in kept.record.attempts] == [False, True]
        assert (kept.record.is_escalated, kept.record.backend) == (True, "b")
        assert len(upstreams["b"].connections) == 1


def test_a_failed_check_waits_for_nobody_but_takes_the_second_where_it_is_next(
    tmp_path: Path,
) -> None:
    rule = "confidence: {from: [checks, agreement], agree_with: b, accept: 0.8}, checks: [amount]"
    text = f"candidates: [a], {rule}, escalate: {{to: [b]}}"
    scripts = {"a": says("no JSON"), "b": says('{"amount": 3}', after_s=0.2)}
    with serving_all(tmp_path, "candidates: [a]", scripts) as (upstreams, plane):
        urls = {name: one.base_url for name, one in upstreams.items()}
        plane.reconfigure(with_checks(text, urls))
        answered = ask(plane)
        assert answered.header("x-pointsman-backend") == "b"
        assert attempts_of(plane) == [("primary", "a", None), ("agreement", "b", None)]


def with_checks(route: str, urls: dict[str, str]) -> str:
    checks = "checks: {amount: {at: /amount, schema: {type: number}}}"
    return config(f"  default: {{{route}}}", top=checks, **urls)


@pytest.mark.parametrize(
    "second",
    [[request, reset], [request, error_answer("500 X")], [request, response(b"<html>")],
     says(""), [request, error_answer("400 X")]],
    ids=["reset", "500", "not-json", "empty", "400"],
)  # fmt: skip
def test_a_second_answer_that_fails_is_unknown_and_nothing_else(
    tmp_path: Path, second: Script
) -> None:
    scripts = {"a": says("10"), "b": second, "c": HANGS}
    with serving_all(tmp_path, ESCALATING, scripts) as (_, plane):
        answered = ask(plane)
        assert (answered.status, answered.header("x-pointsman-backend")) == (200, "a")
        assert answered.header("x-pointsman-confidence") is None
        assert plane.only_record().record.confidence is None


def test_a_second_answer_that_hangs_is_waited_for_half_of_what_is_left(tmp_path: Path) -> None:
    scripts = {"a": says("10"), "b": HANGS, "c": HANGS}
    with serving_all(tmp_path, ESCALATING, scripts) as (upstreams, plane):
        began_s = time.monotonic()
        answered = ask(plane, ASKED, "x-pointsman-deadline-ms: 600")
        assert 0.2 < time.monotonic() - began_s < 0.5
        assert answered.header("x-pointsman-backend") == "a"
        assert attempts_of(plane)[1] == ("agreement", "b", "timeout")
        assert upstreams["b"].wait_until_finished().closed_at is not None
        assert plane.call(lambda: plane.data_plane.watch.unavailable) == {}


def test_when_the_client_goes_all_are_aborted(tmp_path: Path) -> None:
    scripts = {"a": HANGS, "b": HANGS, "c": HANGS}
    with serving_all(tmp_path, ESCALATING, scripts) as (upstreams, plane):
        client = plane.client()
        client.send(post(ASKED))
        plane.wait_until(lambda: upstreams["b"].connections)
        client.close()
        for name in "ab":
            assert upstreams[name].wait_until_finished().closed_at is not None
        assert attempts_of(plane) == [
            ("primary", "a", "client_gone"), ("agreement", "b", "client_gone")
        ]  # fmt: skip
        assert plane.count("backend_in_flight", backend="b") == 0


def test_where_the_first_fails_the_next_answer_is_compared(tmp_path: Path) -> None:
    scripts: dict[str, Script] = {
        "a": [request, reset], "b": says("42"), "c": HANGS, "d": says("42")
    }  # fmt: skip
    with serving_all(tmp_path, f"{ESCALATING}, on_failure: [d]", scripts) as (upstreams, plane):
        # one retry on a, whose script has ended, then d
        answered = ask(plane)
        assert answered.header("x-pointsman-backend") == "d"
        assert answered.header("x-pointsman-confidence") == "1.0000"
        assert not upstreams["c"].connections


@pytest.mark.parametrize("after_s", [0.0, 0.3], ids=["there", "on-its-way"])
def test_where_the_first_fails_the_second_stands_in_and_agrees_with_nobody(
    tmp_path: Path, after_s: float
) -> None:
    scripts = {"a": [request, reset], "b": says("42", after_s=after_s, more=1), "c": HANGS}
    with serving_all(tmp_path, f"{ESCALATING}, on_failure: [b]", scripts) as (upstreams, plane):
        answered = ask(plane)
        assert answered.header("x-pointsman-backend") == "b"
        assert answered.header("x-pointsman-confidence") is None
        kept = plane.only_record()
        assert sorted(kept.tried) == [
            ("fallback", "b", None), ("primary", "a", "reset"), ("retry", "a", "reset")
        ]  # fmt: skip
        assert not kept.record.is_escalated
        assert len(upstreams["b"].connections[0].requests) == 1


def test_nobody_is_asked_who_is_asked_already_or_out_of_order(tmp_path: Path) -> None:
    with serving_all(
        tmp_path, f"candidates: [b], {AGREE}, hold: all", {"b": says("1", more=2)}
    ) as (_, plane):
        assert ask(plane).header("x-pointsman-attempts") == "1"
        assert plane.only_record().tried == [("primary", "b", None)]
    broken = tmp_path / "broken"
    broken.mkdir()
    scripts = {"a": says("1"), "b": HANGS, "c": HANGS}
    with serving_all(broken, ESCALATING, scripts) as (upstreams, plane):
        take_out(plane, "b")
        assert ask(plane).header("x-pointsman-attempts") == "1"
        assert not upstreams["b"].connections


def take_out(plane: Plane, name: str) -> None:
    """As if the breaker had opened."""
    plane.call(lambda: plane.data_plane._take_unavailable({name: "breaker open"}))


def test_streams_shown_as_they_come_ask_nobody(tmp_path: Path) -> None:
    route = f"candidates: [a], {AGREE}, hold: none"
    with serving_all(tmp_path, route, {"a": streams("1"), "b": HANGS}) as (upstreams, plane):
        assert ask(plane, STREAMED).header("x-pointsman-attempts") == "1"
        assert not upstreams["b"].connections


# -- a judge -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "backend"), [("0.95", "a"), ("0.3", "c"), ("0", "c")])
def test_a_judge_decides(tmp_path: Path, said: str, backend: str) -> None:
    scripts = {"a": says("the answer"), "j": says(said), "c": says("better")}
    with serving_all(tmp_path, JUDGING, scripts) as (upstreams, plane):
        answered = ask(plane)
        assert answered.header("x-pointsman-backend") == backend
        kept = plane.only_record()
        assert kept.tried[:2] == [("primary", "a", None), ("judge", "j", None)]
        assert kept.record.attempts[0].confidence == float(said)
        assert kept.record.cost_usd == pytest.approx(13e-6 * len(kept.record.attempts))
        (asked,) = upstreams["j"].connections[0].requests
        head, _, body = asked.partition(b"\r\n\r\n")
        assert b"x-pointsman" not in head
        put = json.loads(json.loads(body)["messages"][1]["content"])
        assert put == {"question": "hi", "answer": "the answer"}


@pytest.mark.parametrize(
    "judge",
    [says("I like it"), says("NaN"), says("7"), [request, reset], [request, error_answer("500 X")],
     [request, response(b"null")], [request, error_answer("400 X")]],
    ids=["words", "nan", "seven", "reset", "500", "null", "400"],
)  # fmt: skip
def test_a_judge_that_says_nothing_of_use_leaves_it_unknown(tmp_path: Path, judge: Script) -> None:
    scripts = {"a": says("x"), "j": judge, "c": HANGS}
    with serving_all(tmp_path, JUDGING, scripts) as (_, plane):
        answered = ask(plane)
        assert (answered.status, answered.header("x-pointsman-backend")) == (200, "a")
        assert answered.header("x-pointsman-confidence") is None


def test_a_judge_that_hangs_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opinions, "ASIDE_S", 0.2)
    scripts = {"a": says("x"), "j": HANGS, "c": HANGS}
    with serving_all(tmp_path, JUDGING, scripts) as (upstreams, plane):
        began_s = time.monotonic()
        assert ask(plane).header("x-pointsman-backend") == "a"
        assert time.monotonic() - began_s < 0.5
        assert upstreams["j"].wait_until_finished().closed_at is not None
        assert attempts_of(plane)[1] == ("judge", "j", "timeout")


def test_a_judge_is_given_half_of_the_time_left(tmp_path: Path) -> None:
    route = f"candidates: [a], {JUDGED}, escalate: {{to: [c], within: 500ms}}"
    with serving_all(tmp_path, route, {"a": says("x"), "j": HANGS, "c": HANGS}) as (_, plane):
        began_s = time.monotonic()
        assert ask(plane).header("x-pointsman-backend") == "a"
        assert time.monotonic() - began_s < 0.45
        assert plane.call(lambda: plane.data_plane.watch.unavailable) == {}


@pytest.mark.parametrize("text", ["", "no JSON"], ids=["empty", "check"])
def test_what_is_decided_is_not_judged(tmp_path: Path, text: str) -> None:
    rule = "confidence: {from: checks, judge: j, accept: 0.8}, checks: [amount]"
    route = f"candidates: [a], {rule}, escalate: {{to: [c]}}"
    scripts = {"a": says(text), "j": HANGS, "c": says('{"amount": 1}')}
    with serving_all(tmp_path, "candidates: [a]", scripts) as (upstreams, plane):
        plane.reconfigure(with_checks(route, {n: one.base_url for n, one in upstreams.items()}))
        assert ask(plane).header("x-pointsman-backend") == "c"
        assert not upstreams["j"].connections


def test_two_that_agree_are_not_judged(tmp_path: Path) -> None:
    rule = "confidence: {from: agreement, agree_with: b, judge: j, accept: 0.8}"
    scripts = {"a": says("7"), "b": says("7"), "j": HANGS}
    with serving_all(tmp_path, f"candidates: [a], {rule}", scripts) as (upstreams, plane):
        assert ask(plane).header("x-pointsman-confidence") == "1.0000"
        assert not upstreams["j"].connections


def test_where_the_second_fails_the_judge_is_asked(tmp_path: Path) -> None:
    rule = "confidence: {from: agreement, agree_with: b, judge: j, accept: 0.8}"
    scripts: dict[str, Script] = {"a": says("7"), "b": [request, stall(0.1), reset],
                                  "j": says("0.9")}  # fmt: skip
    with serving_all(tmp_path, f"candidates: [a], {rule}", scripts) as (_, plane):
        assert ask(plane).header("x-pointsman-confidence") == "0.9000"


def test_logprobs_that_are_too_low_are_not_judged(tmp_path: Path) -> None:
    tokens = {"content": [{"token": "x", "logprob": -2.0, "top_logprobs": []}]}
    body = json.loads(completion("x"))
    body["choices"][0]["logprobs"] = tokens
    script: Script = [request, response(json.dumps(body).encode())]
    rule = "confidence: {from: logprobs, judge: j, accept: 0.8}"
    scripts = {"a": script, "j": HANGS, "c": says("y")}
    route = f"candidates: [a], {rule}, escalate: {{to: [c]}}"
    with serving_all(tmp_path, route, scripts, ", logprobs: true") as (upstreams, plane):
        assert ask(plane).header("x-pointsman-backend") == "c"
        assert not upstreams["j"].connections


def test_a_judge_speaks_anthropics_protocol_too(tmp_path: Path) -> None:
    said = {"type": "message", "role": "assistant", "model": "m", "id": "i",
            "content": [{"type": "text", "text": "0.9"}], "stop_reason": "end_turn",
            "usage": {"input_tokens": 1, "output_tokens": 1}}  # fmt: skip
    script: Script = [request, response(json.dumps(said).encode())]
    with ScriptedUpstream(says("x")) as a, ScriptedUpstream(script) as j:
        text = config(
            f"  default: {{candidates: [a], {JUDGED}}}", a=a.base_url,
            j=f"adapter: anthropic, base_url: '{j.base_url}', model: m",
        )  # fmt: skip
        with Plane(tmp_path, text) as plane:
            assert ask(plane).header("x-pointsman-confidence") == "0.9000"
            assert b"POST /v1/messages " in j.connections[0].requests[0]


def test_only_what_may_go_on_is_judged_again(tmp_path: Path) -> None:
    scripts = {"a": says("x"), "j": says("0.1"), "c": says("y")}
    with serving_all(tmp_path, JUDGING, scripts) as (upstreams, plane):
        assert ask(plane).header("x-pointsman-backend") == "c"
        assert len(upstreams["j"].connections) == 1
        assert attempts_of(plane)[2] == ("escalation", "c", None)
