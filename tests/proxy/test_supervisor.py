"""The supervisor over real processes that do nothing but say so."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.supervisor import BACKOFF_FIRST_S, BACKOFF_MAX_S, HEALTHY_S, Child
from tests.support.served import is_alive

WAIT_S = 10.0


class Running:
    """A supervisor process and what it and its children have said so far."""

    def __init__(self, directory: Path, root: Path, behaviour: str) -> None:
        self.output = directory / "output"
        self.errors = directory / "errors"
        with self.output.open("wb") as output, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.fake_children", str(directory), behaviour],
                cwd=root,
                stdout=output,
                stderr=errors,
            )

    def text(self) -> str:
        return self.output.read_text()

    def wait_for(self, text: str, count: int = 1) -> None:
        deadline = time.monotonic() + WAIT_S
        while self.text().count(text) < count:
            assert time.monotonic() < deadline, f"no {text!r} x{count} in {self.text()!r}"
            time.sleep(0.005)

    def pids(self, name: str) -> list[int]:
        return [int(pid) for pid in re.findall(rf"^{name} pid (\d+)$", self.text(), re.M)]


Start = Callable[[str], Running]


@pytest.fixture
def start(tmp_path: Path, root: Path) -> Iterator[Start]:
    started: list[Running] = []

    def run(behaviour: str) -> Running:
        started.append(Running(tmp_path, root, behaviour))
        return started[-1]

    yield run
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
        running.process.wait(WAIT_S)


def wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + WAIT_S
    while any(map(is_alive, pids)):
        assert time.monotonic() < deadline, "children live on"
        time.sleep(0.005)


def test_prints_the_ready_line_once_everybody_has_reported(start: Start) -> None:
    running = start("plain")
    running.wait_for("all ready\n")
    lines = running.text().splitlines()
    assert lines[-1] == "all ready"
    assert len(lines) == 4


def test_titles_its_children(start: Start) -> None:
    running = start("plain")
    running.wait_for("all ready\n")
    titles = [
        Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0 ").decode()
        for pid in (running.process.pid, *running.pids("keeper"), *running.pids("worker 1"))
    ]
    assert titles == ["pointsman: supervisor", "pointsman: keeper", "pointsman: worker 1"]


@pytest.mark.timed
def test_restarts_a_killed_child_at_once_and_says_ready_only_once(start: Start) -> None:
    running = start("plain")
    running.wait_for("all ready\n")
    killed_s = time.monotonic()
    os.kill(running.pids("worker 0")[0], signal.SIGKILL)
    running.wait_for("worker 0 pid", count=2)
    assert time.monotonic() - killed_s < 1.0
    assert running.text().count("all ready") == 1
    assert '"child_died"' in running.errors.read_text()


def test_stops_the_workers_before_the_keeper(start: Start) -> None:
    running = start("plain")
    running.wait_for("all ready\n")
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(WAIT_S) == 0
    stops = [line for line in running.text().splitlines() if "stopping" in line]
    assert sorted(stops[:2]) == ["worker 0 stopping 1", "worker 1 stopping 1"]
    assert stops[2:] == ["keeper stopping 1"]


def test_a_second_signal_reaches_everybody_at_once(start: Start) -> None:
    running = start("stubborn")
    running.wait_for("all ready\n")
    running.process.send_signal(signal.SIGINT)
    running.wait_for("stopping 1", count=2)
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(WAIT_S) == 0
    assert running.text().count("stopping 2") == 2
    assert "keeper stopping 1" in running.text()


def test_kills_a_worker_that_does_not_leave_in_time(start: Start) -> None:
    running = start("deaf")
    running.wait_for("all ready\n")
    pids = running.pids("worker 0") + running.pids("worker 1")
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(WAIT_S) == 1
    assert not any(map(is_alive, pids))
    assert "keeper stopping 1" in running.text()


def test_passes_a_hangup_to_the_keeper_alone(start: Start) -> None:
    running = start("plain")
    running.wait_for("all ready\n")
    running.process.send_signal(signal.SIGHUP)
    running.wait_for("hangup")
    assert [line for line in running.text().splitlines() if "hangup" in line] == ["keeper hangup"]


def test_children_die_with_a_killed_supervisor(start: Start) -> None:
    running = start("plain")
    running.wait_for("all ready\n")
    pids = running.pids("keeper") + running.pids("worker 0") + running.pids("worker 1")
    running.process.kill()
    wait_until_gone(pids)


def test_gives_up_when_a_child_never_gets_ready(start: Start) -> None:
    running = start("broken")
    assert running.process.wait(WAIT_S) == 1
    assert "all ready" not in running.text()
    assert "cannot start" in running.errors.read_text()


def test_delays_restarts_more_and_more_while_a_child_keeps_dying() -> None:
    child = Child("worker 0", lambda: None)
    delays = []
    for _ in range(9):
        child.started_s = 100.0
        child.note_death(100.5)
        assert child.due_s is not None
        delays.append(child.due_s - 100.5)
    assert delays[0] == 0.0
    assert delays[1] == pytest.approx(BACKOFF_FIRST_S)
    assert delays == sorted(delays)
    assert delays[-1] == pytest.approx(BACKOFF_MAX_S)


def test_restarts_without_delay_after_a_healthy_life() -> None:
    child = Child("worker 0", lambda: None)
    for _ in range(5):
        child.started_s = 0.0
        child.note_death(0.1)
    child.started_s = 10.0
    child.note_death(10.0 + HEALTHY_S)
    assert child.due_s == 10.0 + HEALTHY_S
