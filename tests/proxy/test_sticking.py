"""Conversations that stay with their backend, over real sockets and in real processes."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from policies.sticky import Held
from proxy import sticking
from proxy.control import Conversations
from proxy.sticking import Memory
from tests.support.opinions import says, serving_all
from tests.support.plane import ASKED, Plane, ask, config, error_answer, two_backends, whole_answer
from tests.support.scripted import ScriptedUpstream, request, reset
from tests.support.served import Served
from tests.support.simple_config import write_config

STICKY = "candidates: [a, b], sticky: conversation"


def said_by(plane: Plane, conversation: str) -> str | None:
    return ask(plane, ASKED, f"x-pointsman-conversation: {conversation}").header(
        "x-pointsman-backend"
    )


def without(plane: Plane, *names: str) -> None:
    """These are out of order, and no others."""
    plane.call(lambda: plane.data_plane._take_unavailable(dict.fromkeys(names, "breaker open")))


# -- the memory ----------------------------------------------------------------------------------


def test_what_is_held_is_found_and_told_once() -> None:
    told: list[Conversations] = []
    memory = Memory()
    memory.through(lambda news: bool(told.append(news)) or True)
    memory.hold(b"k", Held("a"))
    memory.hold(b"k", Held("a"))
    memory.hold(b"k", Held("b"))
    assert memory.find(b"k") == Held("b")
    assert memory.find(b"other") is None
    assert [news.entries for news in told] == [[(b"k", Held("a"))], [(b"k", Held("b"))]]
    assert memory.all().entries == [(b"k", Held("b"))]


def test_the_oldest_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sticking, "CONVERSATIONS_MAX", 2)
    memory = Memory()
    for key in (b"1", b"2"):
        memory.hold(key, Held("a"))
    memory.find(b"1")
    memory.hold(b"3", Held("a"))
    assert [memory.find(key) for key in (b"1", b"2", b"3")] == [Held("a"), None, Held("a")]
    assert len(memory) == 2


# -- one worker ----------------------------------------------------------------------------------


def test_a_conversation_stays_while_its_backend_is_eligible(tmp_path: Path) -> None:
    scripts = {"a": says("x", more=9), "b": says("y", more=9)}
    with serving_all(tmp_path, STICKY, scripts) as (_, plane):
        assert said_by(plane, "one") == "a"
        without(plane, "a")
        assert said_by(plane, "two") == "b"
        without(plane)
        assert [said_by(plane, name) for name in ("one", "two", "three")] == ["a", "b", "a"]
        without(plane, "b")
        assert said_by(plane, "two") == "a"
        without(plane)
        assert said_by(plane, "two") == "a"  # it has moved
        records = [kept.record for kept in plane.wait_for_records(7)]
        assert [one.is_sticky for one in records] == [False, False, True, True, False, False, True]
        assert records[3].reason == "the conversation stays with b; else a: cheapest of 2"
        assert records[5].reason == (
            "the only candidate; the conversation leaves b: unavailable: breaker open"
        )
        assert records[3].decided == "b"
        assert [one.chosen for one in records[3].candidates] == [False, True]


def test_callers_and_the_words_of_a_talk_tell_conversations_apart(tmp_path: Path) -> None:
    scripts = {"a": says("x", more=9), "b": says("y", more=9)}
    with serving_all(tmp_path, STICKY, scripts) as (_, plane):
        without(plane, "a")
        messages = [{"role": "user", "content": "begin"}]
        assert ask(plane, {**ASKED, "messages": messages}).header("x-pointsman-backend") == "b"
        without(plane)
        more = [*messages, {"role": "assistant", "content": "y"}, {"role": "user", "content": "on"}]
        assert ask(plane, {**ASKED, "messages": more}).header("x-pointsman-backend") == "b"
        assert ask(plane).header("x-pointsman-backend") == "a"


def test_it_goes_on_with_whoever_answered(tmp_path: Path) -> None:
    scripts = {"a": ([request, reset], [request, reset], says("x", more=5)),
               "b": says("y", more=9)}  # fmt: skip
    with serving_all(tmp_path, f"{STICKY}, on_failure: [b]", scripts) as (_, plane):
        assert said_by(plane, "one") == "b"
        assert said_by(plane, "one") == "b"
        assert said_by(plane, "two") == "a"


def test_a_draw_is_the_conversations_and_keeps_its_propensities(tmp_path: Path) -> None:
    route = f"{STICKY}, explore: {{share: 60%}}"
    scripts = {"a": says("x", more=200), "b": says("y", more=200)}
    with serving_all(tmp_path, route, scripts) as (_, plane):
        for number in range(12):
            took = {said_by(plane, f"talk {number}") for _ in range(3)}
            assert len(took) == 1
        records = [kept.record for kept in plane.wait_for_records(36)]
        assert {one.backend for one in records} == {"a", "b"}
        for one in records:
            odds = {candidate.backend: candidate.propensity for candidate in one.candidates}
            assert odds == {"a": pytest.approx(0.7), "b": pytest.approx(0.3)}
        assert len({one.seed for one in records}) == 12


def test_a_reload_forgets_nothing_but_what_is_no_candidate(tmp_path: Path) -> None:
    scripts = {"a": says("x", more=9), "b": says("y", more=9)}
    with serving_all(tmp_path, STICKY, scripts) as (upstreams, plane):
        urls = {name: one.base_url for name, one in upstreams.items()}
        without(plane, "a")
        assert said_by(plane, "one") == "b"
        without(plane)
        declared = config(f"  default: {{{STICKY}, explore: {{share: 0%}}}}", **urls)
        plane.reconfigure(declared)
        assert said_by(plane, "one") == "b"
        plane.reconfigure(config("  default: {candidates: [a], sticky: conversation}", **urls))
        assert said_by(plane, "one") == "a"
        reason = plane.wait_for_records(3)[2].record.reason
        assert reason == ("the only candidate; the conversation leaves b: no candidate any more")


def test_what_does_not_ask_for_it_is_not_kept(tmp_path: Path) -> None:
    with serving_all(tmp_path, "candidates: [a, b]", {"a": says("x"), "b": says("y")}) as (
        _,
        plane,
    ):
        said_by(plane, "one")
        assert plane.call(lambda: len(plane.data_plane.conversations)) == 0


# -- two real workers ----------------------------------------------------------------------------


def test_every_worker_keeps_to_what_one_has_decided(tmp_path: Path) -> None:
    failing = [request, error_answer("500 X"), request, error_answer("500 X")]
    healthy = [request, whole_answer()] * 60
    with ScriptedUpstream(failing + healthy, healthy) as a, ScriptedUpstream(healthy) as b:
        route = f"{STICKY.removeprefix('candidates: [a, b], ')}, on_failure: [b]"
        text = two_backends(a.base_url, b.base_url, route)
        text = text.replace("candidates: [a]", "candidates: [a, b]")
        with Served(write_config(tmp_path, text), workers=2) as served:
            assert backend_of(served, "first") == "b"
            time.sleep(0.5)  # a message's time, on a machine that has other things to do
            assert {backend_of(served, "first") for _ in range(16)} == {"b"}
            assert {backend_of(served, f"later {n}") for n in range(4)} == {"a"}
            served.wait_until("/state", lambda state: known(state) == [5, 5])
            pid = served.kill_child("worker 0")
            served.wait_for_child("worker 0", other_than=pid)
            served.wait_until("/state", lambda state: known(state) == [5, 5])


def known(state: dict[str, Any]) -> list[int | None]:
    """Conversations that each worker knows."""
    return [one["state"].get("conversations") for one in state["workers"].values()]


def backend_of(served: Served, conversation: str) -> str:
    status, answered, _ = served.exchange(
        "/v1/chat/completions", port="listen", method="POST", body=json.dumps(ASKED).encode(),
        headers={"content-type": "application/json", "x-pointsman-conversation": conversation},
    )  # fmt: skip
    assert status == 200
    return answered["x-pointsman-backend"]
