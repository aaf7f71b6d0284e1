"""F3, F27, F28: backends that fail for a while, under load, before real processes.

What pointsman asks of them is counted at their end, over all workers.
"""

import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.chance import new_seed
from tests.support.command import all_captures
from tests.support.fault_proxy import FaultProxy
from tests.support.ledger import Ledger, Load, Wire, chat_body, differences
from tests.support.plane import config, error_answer, whole_answer
from tests.support.scripted import ScriptedUpstream, answering
from tests.support.served import Served
from tests.support.simple_config import write_config

CONNECTIONS = 8
PAUSE_S = 0.02
"""Between two requests of a connection: some 300 requests a second in all."""
SHARE, FLOOR_PER_S = 0.2, 10.0
"""The retry budget."""
OPENS_S, HEALS_S = 2.0, 10.0
BACK_OFF_MIN_S = 2.5
"""Half of five seconds: the jitter takes no more."""


class Failing(ScriptedUpstream):
    """Answers 503 to a share of the requests, which may be changed at any time."""

    def __init__(self, seed: int, *, share: float) -> None:
        self.share = share
        self.arrivals: list[float] = []
        """`time.monotonic()` of each request."""
        self._draw = random.Random(seed)
        super().__init__([answering(self._answer)])

    def _answer(self, asked: bytes) -> bytes:
        self.arrivals.append(time.monotonic())
        return error_answer("503 X") if self._draw.random() < self.share else whole_answer()

    def count(self, start_s: float, end_s: float) -> int:
        """Requests between two moments."""
        return sum(start_s <= moment < end_s for moment in tuple(self.arrivals))

    def longest_gap(self, start_s: float, end_s: float) -> tuple[float, float]:
        """(length, begin) of the longest time without a request between two moments."""
        inside = [moment for moment in tuple(self.arrivals) if start_s < moment < end_s]
        moments = [start_s, *inside, end_s]
        return max((end - begin, begin) for begin, end in pairwise(moments))


@contextmanager
def loaded(
    directory: Path, ledger: Ledger, text: str, *, workers: int = 2
) -> Iterator[tuple[Served, Load]]:
    """Real processes under load; what the clients saw is in the ledger."""
    with Served(write_config(directory, text), workers=workers) as served:
        load = Load(
            served.listen,
            ledger,
            seed=new_seed(),
            connections=CONNECTIONS,
            make_body=lambda draw: chat_body(str(draw.random())),
            pause_s=PAUSE_S,
        )
        with load:
            yield served, load
        assert load.failures == []


def balance(directory: Path, ledger: Ledger) -> list[dict[str, object]]:
    """Every answer has its record, and no other has one."""
    captures = all_captures(directory / "config.yaml", "--bodies")
    assert differences(ledger, captures) == []
    assert len(captures) == len(ledger.entries)
    return captures


def statuses(ledger: Ledger) -> list[int]:
    """Of all answers."""
    return [entry.status for entry in tuple(ledger.entries.values())]


# -- F3: no storm ---------------------------------------------------------------------------------


@pytest.mark.parametrize("span_s", [2.0, pytest.param(30.0, marks=pytest.mark.slow)])
def test_f03_where_all_fails_retries_stay_within_their_budget(
    tmp_path: Path, ledger: Ledger, span_s: float
) -> None:
    with Failing(1, share=1.0) as a:
        text = config("  default: {candidates: [a]}", a=a.base_url)
        with loaded(tmp_path, ledger, text):
            time.sleep(span_s)
        asked = len(ledger.entries)
        assert set(statuses(ledger)) == {503}
        assert asked > 50 * span_s
        assert len(a.arrivals) >= asked  # the last backend is never ejected
        assert len(a.arrivals) <= asked * (1 + SHARE) + FLOOR_PER_S * (span_s + 2)
        captures = balance(tmp_path, ledger)
        assert not any(one["complete"] for one in captures)


# -- F27: half of its answers are errors ----------------------------------------------------------


@pytest.mark.parametrize("span_s", [1.0, pytest.param(20.0, marks=pytest.mark.slow)])
def test_f27_the_breaker_opens_probes_and_heals(
    tmp_path: Path, ledger: Ledger, span_s: float
) -> None:
    with Failing(new_seed(), share=0.5) as a, Failing(2, share=0.0) as b:
        text = config("  default: {candidates: [a], on_failure: [b]}", a=a.base_url, b=b.base_url)
        with loaded(tmp_path, ledger, text) as (served, _):
            began_s = time.monotonic()
            time.sleep(OPENS_S)
            a.share = 1.0  # or half of the probes would close it again
            opened_s = time.monotonic()
            assert is_told_of(served, "a")
            time.sleep(span_s)
            ended_s = time.monotonic()
            assert a.count(began_s, opened_s) > 5
            assert a.count(opened_s, ended_s) <= 1 + (ended_s - opened_s) / BACK_OFF_MIN_S
            a.share = 0.0
            healed_s = wait_for_traffic(a, ended_s)
            assert healed_s - ended_s < HEALS_S
        errors = sum(status != 200 for status in statuses(ledger))
        assert errors < len(ledger.entries) / 100
        balance(tmp_path, ledger)


def is_told_of(served: Served, backend: str) -> bool:
    """Whether /state, /metrics and the log name the backend as one that fails."""
    _, state = served.get("/state")
    standings = [one["state"]["backends"][backend]["state"] for one in state["workers"].values()]
    _, metrics = served.get("/metrics")
    counted = f'pointsman_backend_transitions_total{{backend="{backend}",state="failing"'
    events = [one["state"] for one in served.events("backend_state") if one["backend"] == backend]
    return "failing" in standings and counted in metrics and "failing" in events


def wait_for_traffic(up: Failing, start_s: float) -> float:
    """When it got its twentieth request since then: more than probes."""
    while up.count(start_s, time.monotonic()) < 20:
        assert time.monotonic() - start_s < 60.0
        time.sleep(0.02)
    return sorted(moment for moment in up.arrivals if moment >= start_s)[19]


@pytest.mark.slow
def test_f27_a_minute_of_it_costs_the_clients_nothing(tmp_path: Path, ledger: Ledger) -> None:
    with Failing(new_seed(), share=0.5) as a, Failing(2, share=0.0) as b:
        text = config("  default: {candidates: [a], on_failure: [b]}", a=a.base_url, b=b.base_url)
        with loaded(tmp_path, ledger, text):
            began_s = time.monotonic()
            time.sleep(60.0)
            ended_s = time.monotonic()
            a.share = 0.0
            healed_s = wait_for_traffic(a, ended_s)
        _, open_since_s = a.longest_gap(began_s, began_s + OPENS_S + BACK_OFF_MIN_S)
        assert open_since_s - began_s < OPENS_S
        assert healed_s - ended_s < HEALS_S
        assert a.count(began_s, ended_s) < len(ledger.entries) / 5
        errors = sum(status != 200 for status in statuses(ledger))
        assert errors < len(ledger.entries) / 100
        balance(tmp_path, ledger)


# -- F28: all of them are down --------------------------------------------------------------------


def test_f28_all_down_is_a_quick_503_and_over_without_a_restart(
    tmp_path: Path, ledger: Ledger
) -> None:
    with (
        Failing(1, share=0.0) as a,
        FaultProxy(a.port) as link_a,
        Failing(2, share=0.0) as b,
        FaultProxy(b.port) as link_b,
    ):
        text = config(
            "  default: {candidates: [a], on_failure: [b]}", a=link_a.base_url, b=link_b.base_url
        )
        with loaded(tmp_path, ledger, text) as (served, _):
            time.sleep(0.3)
            link_a.close_port()
            link_b.close_port()
            down_s = time.monotonic()
            spans = []
            with Wire(served.listen) as wire:
                for number in range(40):
                    started_s = time.monotonic()
                    body = chat_body(f"down {number}")
                    answer = wire.ask(body)
                    spans.append(time.monotonic() - started_s)
                    ledger.add(body, answer)
                    assert (answer.status, answer.error["code"]) == (503, "no_backend")
                    assert int(answer.headers["retry-after"]) >= 1
                    time.sleep(0.03)
            link_a.open_port()
            link_b.open_port()
            back_s = time.monotonic()
            while served.chat()[0] != 200:
                assert time.monotonic() - back_s < HEALS_S
                time.sleep(0.05)
            time.sleep(0.3)
    assert statistics.median(spans) < 0.05
    assert set(statuses(ledger)) <= {200, 502, 503}
    captures = all_captures(tmp_path / "config.yaml", "--bodies")
    assert differences(ledger, captures) == []
    down = [one for one in captures if one["http_status"] == 503]
    tries = sum(len(one["attempts"]) for one in down)
    # Until the first have failed nobody knows; those under way then are charged afterwards.
    unknowing = 2 * CONNECTIONS
    assert tries <= len(down) * (1 + SHARE) + FLOOR_PER_S * (back_s - down_s + 2) + unknowing


@pytest.mark.timed
def test_f28_alone_and_down_it_is_asked_again_by_every_request(
    tmp_path: Path, ledger: Ledger
) -> None:
    """The last backend of a route is never ejected: the first request behind its return gets in."""
    with Failing(1, share=0.0) as a, FaultProxy(a.port) as link:
        text = config("  default: {candidates: [a]}", a=link.base_url)
        with Served(write_config(tmp_path, text)) as served, Wire(served.listen) as wire:
            link.close_port()
            for number in range(12):
                body = chat_body(str(number))
                ledger.add(body, wire.ask(body))
            link.open_port()
            body = chat_body("back")
            answer = wire.ask(body)
            ledger.add(body, answer)
            assert answer.status == 200
            balance(tmp_path, ledger)
