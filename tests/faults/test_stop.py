"""SIGTERM under load: what is under way ends whole, nobody new is let in, all of it is kept."""

import json
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.command import PROGRAM, ROOT, all_captures, command
from tests.support.ledger import BrokenOff, Ledger, Load, Wire, chat_body, chat_request, differences
from tests.support.plane import DONE, event, whole_answer
from tests.support.plane import config as plane_config
from tests.support.scripted import (
    LAST_CHUNK,
    ScriptedUpstream,
    chunk,
    chunked_head,
    request,
    stall,
)
from tests.support.served import WAIT_S, Served
from tests.support.simple_config import write_config

CONFIG = """\
listen: 127.0.0.1:0
admin: 127.0.0.1:0
backends:
  quick: {adapter: simulated, profile: {speed: instant}}
  slow: {adapter: simulated, profile: {first_token: 100ms, tokens_per_second: 10}}
  stuck: {adapter: simulated, profile: {first_token: 60s}}
routes:
  default: {candidates: [quick]}
"""
STREAMS = 12


class Streams:
    """Clients of slow answers, each on its own connection; two of three ask for a stream."""

    def __init__(
        self, served: Served, ledger: Ledger, model: str, *, are_all_streams: bool = False
    ) -> None:
        self._are_all_streams = are_all_streams
        self._address = served.listen
        self._ledger = ledger
        self._model = model
        self.broken: list[str] = []
        self.ids: list[str] = []
        self._begun = threading.Semaphore(0)
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(STREAMS)]
        for thread in self._threads:
            thread.start()

    def _ask(self, number: int) -> None:
        is_stream = self._are_all_streams or number % 3 != 0
        body = chat_body(f"{number}", model=self._model, stream=is_stream)
        with Wire(self._address) as wire:
            wire.send(chat_request(body))
            self._begun.release()
            try:
                self._ledger.add(body, wire.read_answer())
            except BrokenOff as error:
                self.broken.append(str(error))

    def wait_for_begin(self) -> None:
        """Until all have sent their requests."""
        for _ in self._threads:
            assert self._begun.acquire(timeout=WAIT_S)

    def join(self) -> None:
        """Until all have their answers, or know that there will be none."""
        for thread in self._threads:
            thread.join(4 * WAIT_S)
            assert not thread.is_alive()


def in_flight(state: dict[str, dict[str, dict[str, dict[str, int]]]]) -> int:
    """Over both workers."""
    return sum(worker.get("state", {}).get("in_flight", 0) for worker in state["workers"].values())


def test_f42_streams_end_whole_and_nobody_new_comes_in(tmp_path: Path, ledger: Ledger) -> None:
    config = write_config(tmp_path, CONFIG)
    with Served(config, workers=2) as served:
        streams = Streams(served, ledger, "slow")
        with Load(served.listen, ledger, seed=2, connections=4) as load:
            streams.wait_for_begin()
            served.wait_until("/state", lambda state: in_flight(state) >= STREAMS)
            served.process.send_signal(signal.SIGTERM)
            served.wait_until("/readyz", lambda answer: answer["status"] == "draining")
            time.sleep(0.1)
            refused = try_to_connect(served.listen)
            quick_before = answered_by("quick", ledger)
            time.sleep(0.2)
            assert answered_by("quick", ledger) == quick_before > 0
        streams.join()
        assert served.process.wait(WAIT_S) == 0
    assert refused
    assert streams.broken == []
    # A client may just have sent on an idle connection that is being closed; it saw no byte.
    assert [
        one for one in load.failures if "after 0 bytes" not in one and "refused" not in one
    ] == []
    captures = all_captures(config, "--bodies")
    assert differences(ledger, captures) == []
    assert len(captures) == len(ledger.entries)
    assert command("verify", "--deep", config=config).code == 0


def answered_by(backend: str, ledger: Ledger) -> int:
    """How many answers so far."""
    return sum(entry.backend == backend for entry in tuple(ledger.entries.values()))


def try_to_connect(address: str) -> bool:
    """Whether a newcomer is turned away: refused, or closed without a byte."""
    try:
        with Wire(address, timeout_s=2.0) as wire:
            wire.ask(chat_body())
    except (ConnectionError, BrokenOff):
        return True
    return False


def test_f42_the_second_signal_is_quick_and_what_it_breaks_has_its_record(
    tmp_path: Path, ledger: Ledger
) -> None:
    config = write_config(tmp_path, CONFIG)
    with Served(config, workers=2) as served:
        streams = Streams(served, ledger, "stuck")
        streams.wait_for_begin()
        served.wait_until("/state", lambda state: in_flight(state) == STREAMS)
        served.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert served.process.poll() is None
        served.process.send_signal(signal.SIGTERM)
        started_s = time.monotonic()
        served.process.wait(WAIT_S)
        assert time.monotonic() - started_s < 3.0
        streams.join()
        assert "Traceback" not in served.log()
        assert served.events("killed_late") == []
    assert len(streams.broken) == STREAMS
    captures = all_captures(config)
    assert len(captures) == STREAMS
    assert not any(capture["complete"] for capture in captures)


def test_f40_a_second_instance_is_refused_while_the_first_serves_on(
    tmp_path: Path, ledger: Ledger
) -> None:
    config = write_config(tmp_path, CONFIG)
    with Served(config) as served:
        with Load(served.listen, ledger, seed=3, connections=2) as load:
            second = subprocess.run(
                [*PROGRAM, "serve", "--config", str(config)],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=WAIT_S,
                check=False,
            )
            time.sleep(0.2)
        assert (second.returncode, second.stdout) == (1, "")
        assert str(served.process.pid) in second.stderr
        assert "Traceback" not in second.stderr
        assert load.failures == []
        assert len(ledger.entries) > 50


def test_f22_a_client_that_leaves_in_mid_stream_is_on_record_as_gone(
    tmp_path: Path, ledger: Ledger
) -> None:
    config = write_config(tmp_path, CONFIG)
    draw = random.Random(4)
    with Served(config) as served:
        for number in range(6):
            with Wire(served.listen) as wire:
                wire.send(chat_request(chat_body(str(draw.random()), model="slow", stream=True)))
                if number % 2:
                    wire.read_head()
        captures = all_captures(config)
        for capture in captures:
            assert (capture["status"], capture["complete"]) == ("client_gone", False)
        assert json.dumps(captures).count('"client_gone"') >= 6
        assert served.chat()[0] == 200


@pytest.mark.slow
def test_f42_a_stream_of_25_seconds_ends_whole_and_a_longer_one_is_cut_at_30(
    tmp_path: Path, ledger: Ledger
) -> None:
    """The real limit of the drain, on both of its sides."""
    words = [chunk(event(str(number))) for number in range(120)]
    end = [chunk(event(finish="stop") + DONE), LAST_CHUNK]
    paced = [each for word in words for each in (word, stall(0.5))]
    with (
        ScriptedUpstream([request, chunked_head(), *paced[:100], *end]) as a,
        ScriptedUpstream([request, chunked_head(), *paced, *end]) as b,
    ):
        text = plane_config("  default: {candidates: [a]}", a=a.base_url, b=b.base_url)
        config = write_config(tmp_path, text)
        with Served(config, workers=2) as served:
            whole = Streams(served, ledger, "a", are_all_streams=True)
            long = Streams(served, ledger, "b", are_all_streams=True)
            for streams in (whole, long):
                streams.wait_for_begin()
            served.wait_until("/state", lambda state: in_flight(state) == 2 * STREAMS)
            served.process.send_signal(signal.SIGTERM)
            started_s = time.monotonic()
            assert served.process.wait(60) == 0
            assert 29.0 < time.monotonic() - started_s < 36.0
            for streams in (whole, long):
                streams.join()
    captures = all_captures(config, "--bodies")
    assert differences(ledger, captures) == []
    ended = Counter((one["backend"], one["complete"]) for one in captures)
    assert ended == {("a", True): STREAMS, ("b", False): STREAMS}
    assert whole.broken == []
    assert len(long.broken) == STREAMS


def test_f42_ready_ends_at_once_and_answers_say_close(tmp_path: Path, ledger: Ledger) -> None:
    with ScriptedUpstream([request, stall(1.0), whole_answer()]) as a:
        config = write_config(tmp_path, plane_config("  default: {candidates: [a]}", a=a.base_url))
        with Served(config) as served, Wire(served.listen) as wire:
            body = chat_body("under way")
            wire.send(chat_request(body))
            a.wait_for_connection()
            assert served.get("/readyz")[0] == 200
            served.process.send_signal(signal.SIGTERM)
            served.wait_until("/readyz", lambda answer: answer["status"] == "draining")
            assert served.get("/readyz")[0] == 503
            assert served.get("/healthz")[0] == 200
            answer = wire.read_answer()
            ledger.add(body, answer)
            assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert differences(ledger, all_captures(config, "--bodies")) == []
