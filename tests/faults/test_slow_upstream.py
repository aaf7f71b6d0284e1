"""F18 and F19: a backend that says nothing, or too little."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.fault_proxy import FaultProxy, bandwidth, latency, stall_after
from tests.support.laboratory import Lab
from tests.support.plane import (
    ASKED,
    DONE,
    EVENTS,
    STREAMED,
    completion,
    event,
    stream_answer,
    whole_answer,
)
from tests.support.scripted import (
    LAST_CHUNK,
    ScriptedUpstream,
    Step,
    answering,
    chunk,
    chunked_head,
    drip,
    request,
    response,
    stall,
    until_closed,
)

BACKUP = "on_failure: [b], "
LIMITS = "timeout: {total: 10s, first_token: 300ms, idle: 300ms}"
SILENT: dict[str, list[Step]] = {
    "no head": [request, until_closed],
    "half a head": [request, b"HTTP/1.1 200 OK\r\n", until_closed],
    "a head, no token": [request, chunked_head(), until_closed],
    "comments, no token": [request, chunked_head(), *[chunk(b": ping\n\n"), stall(0.1)] * 20],
}
SILENT_TO_WHOLE: dict[str, list[Step]] = {
    "no head": SILENT["no head"],
    "half a head": SILENT["half a head"],
    "a head, no body": [request, chunked_head(content_type="application/json"), until_closed],
}


@pytest.mark.parametrize(
    ("body", "script"),
    [
        *[
            pytest.param(ASKED, script, id=f"whole-{name}")
            for name, script in SILENT_TO_WHOLE.items()
        ],
        *[pytest.param(STREAMED, script, id=f"stream-{name}") for name, script in SILENT.items()],
    ],
)
def test_f18_no_first_token_in_time_is_a_504(
    tmp_path: Path, body: dict[str, Any], script: list[Step]
) -> None:
    with ScriptedUpstream(script) as up, Lab(tmp_path, route=LIMITS, a=up.base_url) as lab:
        started_s = time.monotonic()
        answer = lab.ask(body)
        assert 0.28 < time.monotonic() - started_s < 3.0
        assert answer.code == (504, "server_error", "deadline_exceeded")
        assert answer.header("x-should-retry") == "false"
        assert up.wait_until_finished().closed_how is not None  # nobody computes for nothing
        assert len(up.requests) == 1


@pytest.mark.parametrize("script", SILENT.values(), ids=SILENT)
def test_f18_another_backend_answers_instead(tmp_path: Path, script: list[Step]) -> None:
    with (
        ScriptedUpstream(script) as a,
        ScriptedUpstream([request, stream_answer(EVENTS, DONE)]) as b,
        Lab(tmp_path, route=BACKUP + LIMITS, a=a.base_url, b=b.base_url) as lab,
    ):
        answer = lab.ask(STREAMED)
        assert (answer.is_whole, answer.header("x-pointsman-backend")) == (True, "b")
        assert lab.only_record().tried == [("primary", "a", "timeout"), ("fallback", "b", None)]


def test_f18_a_gap_in_mid_stream_is_a_cut(tmp_path: Path) -> None:
    said = stream_answer(event("half"), EVENTS, DONE)
    with (
        ScriptedUpstream([request, said]) as up,
        FaultProxy(up.port, downstream=[stall_after(said.index(EVENTS) + 30)]) as link,
        Lab(tmp_path, route=LIMITS, a=link.base_url) as lab,
    ):
        started_s = time.monotonic()
        answer = lab.ask(STREAMED)
        assert 0.28 < time.monotonic() - started_s < 3.0
        assert b"upstream_cut" in answer.body
        assert not answer.is_whole
        assert lab.only_record().ended == ("upstream_cut", False, 200, "timeout")


def test_f18_the_limits_are_apart(tmp_path: Path) -> None:
    """A first token later than the idle limit allows, and gaps longer than the first token's."""
    script = [request, stall(0.4), chunked_head(), chunk(event("x"))]
    late = [*script, stall(0.1), chunk(event(finish="stop") + DONE), LAST_CHUNK]
    with (
        ScriptedUpstream(late) as up,
        Lab(tmp_path, route="timeout: {first_token: 2s, idle: 250ms}", a=up.base_url) as lab,
    ):
        assert lab.ask(STREAMED).is_whole
    gap = [request, chunked_head(), chunk(event("x")), stall(0.5)]
    gap += [chunk(event(finish="stop") + DONE), LAST_CHUNK]
    (tmp_path / "gap").mkdir()
    with (
        ScriptedUpstream(gap) as up,
        Lab(
            tmp_path / "gap", route="timeout: {first_token: 250ms, idle: 2s}", a=up.base_url
        ) as lab,
    ):
        assert lab.ask(STREAMED).is_whole


def test_f18_latency_and_jitter_alone_break_nothing(tmp_path: Path) -> None:
    good = answering(lambda asked: stream_answer(EVENTS, DONE))
    jitter = [latency(0.03, 0.03, seed=1)]
    with (
        ScriptedUpstream([good]) as up,
        FaultProxy(up.port, upstream=jitter, downstream=jitter) as link,
        Lab(tmp_path, a=link.base_url) as lab,
    ):
        for _ in range(5):
            answer = lab.ask({**STREAMED, "stream_options": {"include_usage": True}})
            assert (answer.body, answer.is_whole) == (EVENTS + DONE, True)


# -- F19: drips -----------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [ASKED, STREAMED], ids=["whole", "stream"])
def test_f19_a_drip_satisfies_the_idle_limit_and_not_the_deadline(
    tmp_path: Path, body: dict[str, Any]
) -> None:
    """Twenty bytes a second, none of the gaps long enough to be one."""
    words = b"".join(chunk(event(str(number))) for number in range(100))
    said = response(completion()) if body is ASKED else chunked_head() + words
    start = said.index(b"{") if body is ASKED else len(chunked_head()) + words.index(b"\n\n") + 4
    route = "timeout: {total: 1s, first_token: 800ms, idle: 300ms}"
    with (
        ScriptedUpstream([request, said[:start], drip(said[start:], pause_s=0.05)]) as up,
        Lab(tmp_path, route=route, a=up.base_url) as lab,
    ):
        started_s = time.monotonic()
        answer = lab.ask(body)
        assert 0.95 < time.monotonic() - started_s < 4.0
        if body is ASKED:
            assert answer.code == (504, "server_error", "deadline_exceeded")
        else:
            assert b"upstream_cut" in answer.body
            assert lab.only_record().ended == ("upstream_cut", False, 200, "timeout")
        assert up.wait_until_finished().closed_how is not None


def test_f19_a_slow_line_within_the_deadline_is_whole(tmp_path: Path) -> None:
    said = stream_answer(EVENTS, DONE)
    with (
        ScriptedUpstream([request, said]) as up,
        FaultProxy(up.port, downstream=[bandwidth(len(said) / 0.6)]) as link,
        Lab(tmp_path, route="timeout: {total: 5s, idle: 300ms}", a=link.base_url) as lab,
    ):
        assert lab.ask(STREAMED).is_whole


@pytest.mark.slow
def test_f19_one_byte_a_second(tmp_path: Path) -> None:
    head, _, said = whole_answer().partition(b"{")
    script = [request, head, drip(b"{" + said, pause_s=1.0)]
    route = "timeout: {total: 4s, first_token: 3s, idle: 2s}"
    with ScriptedUpstream(script) as up, Lab(tmp_path, route=route, a=up.base_url) as lab:
        started_s = time.monotonic()
        with lab.plane.client() as client:
            client.socket.settimeout(20)
            answer = lab.ask_on(client, ASKED)
        assert 3.9 < time.monotonic() - started_s < 5.0
        assert answer.code == (504, "server_error", "deadline_exceeded")
