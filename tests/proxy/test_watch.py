"""A worker's view of its backends: what real failures change, and how it heals."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters import health
from adapters.standing import Standing
from proxy import watch
from proxy.control import ProbeAnswer, ProbeWanted
from tests.support.plane import (
    ASKED,
    DONE,
    STREAMED,
    Plane,
    ask,
    config,
    error_answer,
    event,
    two_backends,
    whole_answer,
)
from tests.support.raw_client import post
from tests.support.scripted import (
    LAST_CHUNK,
    Connection,
    ScriptedUpstream,
    chunk,
    chunked_head,
    fin,
    request,
    stall,
)

DOWN = [request, error_answer("503 Service Unavailable"), fin]
UP = [request, whole_answer(), fin]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of a fifth of a second instead of five."""
    monkeypatch.setattr(health, "OPEN_MIN_S", 0.2)


class Switched:
    """An upstream that can be broken and mended while it serves."""

    def __init__(self) -> None:
        self.is_down = False
        self.says_down: Any = DOWN[1]
        self.says_up: Any = UP[1]
        self.upstream = ScriptedUpstream([request, self.say, fin])

    def say(self, connection: Connection) -> None:
        said = self.says_down if self.is_down else self.says_up
        connection.send(said) if isinstance(said, bytes) else said(connection)

    @property
    def asked(self) -> int:
        return len(self.upstream.requests)


@contextmanager
def two(
    directory: Path, route: str = "on_failure: [b]"
) -> Iterator[tuple[Switched, Switched, Plane]]:
    a, b = Switched(), Switched()
    with (
        a.upstream,
        b.upstream,
        Plane(directory, two_backends(a.upstream.base_url, b.upstream.base_url, route)) as plane,
    ):
        yield a, b, plane


def state(plane: Plane, name: str = "a") -> dict[str, Any]:
    return plane.call(lambda: plane.data_plane.watch.state_of(name))


def unavailable(plane: Plane) -> dict[str, str]:
    return dict(plane.call(lambda: plane.data_plane.world.unavailable))


def break_a(a: Switched, plane: Plane) -> None:
    """Ask until the circuit is open; clients notice nothing."""
    a.is_down = True
    for _ in range(5):
        assert ask(plane).status == 200
    assert state(plane)["state"] == "failing"


def test_an_open_circuit_sends_everything_elsewhere(tmp_path: Path) -> None:
    with two(tmp_path) as (a, _, plane):
        break_a(a, plane)
        asked = a.asked
        answer = ask(plane)
        assert answer.header("x-pointsman-backend") == "b"
        assert a.asked == asked
        assert plane.records()[-1].tried == [("primary", "b", None)]
        (why,) = unavailable(plane).values()
        assert why.startswith("breaker open until 20")
        assert why.endswith("Z (5 failures in a row, the last: status 503)")


def test_a_mended_backend_gets_its_traffic_back(tmp_path: Path) -> None:
    with two(tmp_path) as (a, _, plane):
        break_a(a, plane)
        a.is_down = False
        plane.wait_until(lambda: ask(plane).header("x-pointsman-backend") == "a")
        assert ask(plane).header("x-pointsman-backend") == "a"
        found = state(plane)
        assert (found["state"], found["probes"]) == ("ready", {"answered": 1})
        assert unavailable(plane) == {}
        for word in ("failing", "half_open", "ready"):
            assert plane.count("backend_transitions_total", backend="a", state=word) == 1
        assert plane.count("backend_available", backend="a") == 1


def test_one_request_at_a_time_tries_a_broken_backend(tmp_path: Path) -> None:
    with two(tmp_path) as (a, _, plane):
        break_a(a, plane)
        a.says_down = stall(5)
        before = a.asked
        plane.wait_until(lambda: not unavailable(plane))
        with plane.client() as client:
            client.send(post(ASKED))
            plane.wait_until(lambda: a.asked == before + 1)
            for _ in range(10):
                assert ask(plane).header("x-pointsman-backend") == "b"
            assert a.asked == before + 1
            assert "another request tries it" in unavailable(plane)["a"]


def test_a_failed_probe_costs_its_client_nothing(tmp_path: Path) -> None:
    with two(tmp_path) as (a, _, plane):
        break_a(a, plane)
        before = a.asked
        plane.wait_until(lambda: not unavailable(plane))
        assert ask(plane).status == 200
        assert a.asked == before + 1
        assert state(plane)["reason"] == "the probe failed: status 503"
        assert state(plane)["probes"] == {"failed": 1}
        assert plane.count("backend_probes_total", backend="a", outcome="failed") == 1


def test_a_probe_whose_client_leaves_decides_nothing(tmp_path: Path) -> None:
    with two(tmp_path) as (a, _, plane):
        break_a(a, plane)
        a.says_down = stall(5)
        before = a.asked
        plane.wait_until(lambda: not unavailable(plane))
        with plane.client() as client:
            client.send(post(ASKED))
            plane.wait_until(lambda: a.asked == before + 1)
        plane.wait_until(lambda: state(plane)["probes"] == {"undecided": 1})
        assert state(plane)["state"] == "half_open"
        a.is_down = False
        plane.wait_until(lambda: ask(plane).header("x-pointsman-backend") == "a")


@pytest.mark.timed
def test_a_probe_that_streams_is_an_answer_before_its_end(tmp_path: Path) -> None:
    with two(tmp_path) as (a, _, plane):
        break_a(a, plane)

        def slowly(connection: Connection) -> None:
            connection.send(chunked_head() + chunk(event("he")))
            connection.stall(1.0)
            connection.send(chunk(event(finish="stop") + DONE) + LAST_CHUNK)

        a.is_down, a.says_up = False, slowly
        plane.wait_until(lambda: not unavailable(plane))
        started_s = time.monotonic()
        with plane.client() as client:
            client.send(post(STREAMED))
            plane.wait_until(lambda: state(plane)["state"] == "ready")
            assert time.monotonic() - started_s < 0.9
            assert client.read().status == 200


def test_the_last_backend_is_asked_whatever_it_did(tmp_path: Path) -> None:
    a = Switched()
    a.is_down = True
    with (
        a.upstream,
        Plane(tmp_path, config("  default: {candidates: [a]}", a=a.upstream.base_url)) as plane,
    ):
        for _ in range(3):
            assert ask(plane).status == 503
        assert state(plane)["state"] == "failing"
        a.is_down = False
        assert ask(plane).status == 200, "no need to wait for a probe where there is nobody else"


@pytest.mark.timed
def test_a_rate_limited_backend_is_left_alone_until_it_says(tmp_path: Path) -> None:
    with two(tmp_path) as (a, _, plane):
        a.is_down, a.says_down = True, error_answer("429 Too Many Requests", "retry-after: 1")
        started_s = time.monotonic()
        assert ask(plane).status == 200
        assert unavailable(plane)["a"].startswith("rate limited until")
        for _ in range(5):
            assert ask(plane).header("x-pointsman-backend") == "b"
        assert a.asked == 1
        a.is_down = False
        plane.wait_until(lambda: not unavailable(plane))
        assert 0.9 < time.monotonic() - started_s < 1.5
        assert ask(plane).header("x-pointsman-backend") == "a"


def test_a_spent_quota_is_not_asked_again(tmp_path: Path) -> None:
    with two(tmp_path) as (a, _, plane):
        a.is_down, a.says_down = True, error_answer("429 X", code="insufficient_quota")
        for _ in range(3):
            assert ask(plane).status == 200
        assert a.asked == 1
        assert unavailable(plane)["a"].startswith("no quota until")


def test_a_refused_credential_is_an_alarm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with two(tmp_path) as (a, _, plane):
        a.is_down, a.says_down = True, error_answer("401 Unauthorized")
        assert ask(plane).code == (502, "server_error", "upstream_auth")
        assert ask(plane).header("x-pointsman-backend") == "b"
        name = "backend_transitions_total"
        assert plane.count(name, backend="a", state="credential_refused") == 1
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        (line,) = [line for line in lines if line["event"] == "backend_state"]
        assert (line["level"], line["backend"]) == ("warning", "a")
        assert line["state"] == "credential_refused"


def test_one_backend_in_trouble_leaves_the_others_alone(tmp_path: Path) -> None:
    with two(tmp_path) as (a, _, plane):
        break_a(a, plane)
        assert state(plane, "b")["state"] == "ready"
        assert set(unavailable(plane)) == {"a"}


def test_a_reload_forgets_only_what_it_declares_anew(tmp_path: Path) -> None:
    with two(tmp_path) as (a, b, plane):
        break_a(a, plane)
        text = two_backends(a.upstream.base_url, b.upstream.base_url)
        plane.reconfigure(text + "\n")
        assert state(plane)["state"] == "failing"
        plane.reconfigure(text.replace("model: m-a", "model: m-a2"))
        assert state(plane)["state"] == "ready"
        assert unavailable(plane) == {}
        only_b = config("  default: {candidates: [b]}", b=b.upstream.base_url)
        plane.reconfigure(only_b)
        assert state(plane) == {}
        assert ask(plane).status == 200


# -- the retry budget ----------------------------------------------------------------------------


def test_everything_failing_does_not_multiply_the_load(tmp_path: Path) -> None:
    with two(tmp_path) as (a, b, plane):
        a.is_down = b.is_down = True
        started_s, count = time.monotonic(), 150
        for _ in range(count):
            assert ask(plane).status == 503
        elapsed_s = time.monotonic() - started_s
        assert a.asked + b.asked <= 1.2 * count + 10 * (elapsed_s + 1)
        assert a.asked + b.asked > count
        assert plane.count("retry_budget_refused_total") > 0


def test_nobody_there_is_not_asked_again_and_again(tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9/v1"
    with Plane(tmp_path, two_backends(nowhere, nowhere)) as plane:
        started_s, count = time.monotonic(), 150
        for _ in range(count):
            assert ask(plane).code == (503, "server_error", "no_backend")
        elapsed_s = time.monotonic() - started_s
        attempts = sum(len(kept.record.attempts) for kept in plane.wait_for_records(count))
        assert count < attempts <= 1.2 * count + 10 * (elapsed_s + 1)


def test_a_fallback_that_fails_unexpectedly_is_paid_for_afterwards(tmp_path: Path) -> None:
    with two(tmp_path) as (a, b, plane):
        a.is_down = b.is_down = True
        assert ask(plane).status == 503
        assert [kind for kind, _, _ in plane.only_record().tried] == [
            "primary",
            "retry",
            "fallback",
        ]
        floor = plane.call(lambda: plane.data_plane.watch.budget._floor)
        assert 7.9 < floor < 9.0, "ten, less the retry and the fallback"


def test_who_got_no_second_try_for_lack_of_budget_is_told_not_to_try(tmp_path: Path) -> None:
    with two(tmp_path) as (a, b, plane):
        a.is_down = b.is_down = True
        plane.wait_until(lambda: ask(plane) and plane.count("retry_budget_refused_total") > 0)
        answer = ask(plane)
        assert (answer.status, answer.header("x-should-retry")) == (503, "false")


def test_a_healthy_fallback_is_not_bound_by_the_budget(tmp_path: Path) -> None:
    with two(tmp_path) as (a, b, plane):

        def every_other(connection: Connection) -> None:
            connection.send(UP[1] if a.asked % 2 else DOWN[1])  # type: ignore[arg-type]

        a.says_up = every_other
        for _ in range(200):
            assert ask(plane).status == 200
        assert b.asked > 0


# -- other workers -------------------------------------------------------------------------------


class Keeper:
    """What the watch says to the keeper, answered or not."""

    def __init__(self) -> None:
        self.heard: list[Standing | ProbeWanted] = []
        self.is_there = True

    def tell(self, news: Standing | ProbeWanted) -> bool:
        if self.is_there:
            self.heard.append(news)
        return self.is_there


@contextmanager
def with_keeper(directory: Path) -> Iterator[tuple[Switched, Plane, Keeper]]:
    """A plane that takes itself for one of two workers."""
    with two(directory) as (a, _, plane):
        keeper, data_plane = Keeper(), plane.data_plane

        def join() -> None:
            data_plane.workers = 2
            data_plane.watch.follow(data_plane.wiring.configuration.backends, workers=2)
            data_plane.watch.through(keeper.tell)

        plane.call(join)
        yield a, plane, keeper


def test_news_are_told_and_heard(tmp_path: Path) -> None:
    with with_keeper(tmp_path) as (a, plane, keeper):
        break_a(a, plane)
        (news,) = keeper.heard
        assert isinstance(news, Standing)
        assert (news.backend, news.state) == ("a", "failing")
        assert plane.call(plane.data_plane.watch.standings) == [news]
        now_s = time.monotonic()
        told = Standing("b", "failing", "elsewhere", now_s, now_s + 5, now_s)
        plane.call(lambda: plane.data_plane.watch.hear(told))
        assert set(unavailable(plane)) == {"a", "b"}
        assert keeper.heard == [news], "what was heard is not told again"
        plane.call(lambda: plane.data_plane.watch.hear(Standing("no such backend", "failing")))


def test_a_probe_needs_the_keepers_word(tmp_path: Path) -> None:
    with with_keeper(tmp_path) as (a, plane, keeper):
        break_a(a, plane)
        a.is_down = False
        plane.wait_until(lambda: ProbeWanted("a") in keeper.heard)
        plane.call(lambda: plane.data_plane.watch.hear(ProbeAnswer("a", False)))
        assert ask(plane).header("x-pointsman-backend") == "b"
        plane.call(lambda: plane.data_plane.watch.hear(ProbeAnswer("a", True)))
        assert ask(plane).header("x-pointsman-backend") == "a"
        assert isinstance(keeper.heard[-1], Standing)
        assert keeper.heard[-1].state == "ready"
        plane.call(lambda: plane.data_plane.watch.hear(ProbeAnswer("a", True)))


def test_a_grant_that_nobody_uses_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "USE_S", 0.1)
    monkeypatch.setattr(watch, "REST_S", 0.3)
    with with_keeper(tmp_path) as (a, plane, keeper):
        break_a(a, plane)
        plane.wait_until(lambda: ProbeWanted("a") in keeper.heard)
        plane.call(lambda: plane.data_plane.watch.hear(ProbeAnswer("a", True)))
        asked = len(keeper.heard)
        plane.wait_until(lambda: unavailable(plane))
        assert len(keeper.heard) == asked
        plane.wait_until(lambda: len(keeper.heard) > asked)


@pytest.mark.parametrize("is_there", [True, False])
def test_a_worker_without_a_keeper_acts_alone(tmp_path: Path, is_there: bool) -> None:
    with with_keeper(tmp_path) as (a, plane, keeper):
        break_a(a, plane)
        a.is_down, keeper.is_there = False, is_there  # there, but it never answers
        plane.wait_until(lambda: ask(plane).header("x-pointsman-backend") == "a")


def test_moments_are_told_in_utc() -> None:
    assert watch.moment(time.monotonic())[:13] == time.strftime("%Y-%m-%dT%H", time.gmtime())
    loop = asyncio.new_event_loop()
    made = watch.Watch(loop, worker=0, on_change=lambda unavailable: None)
    assert repr(made) == "<Watch unavailable=[]>"
    made.close()
    loop.close()
