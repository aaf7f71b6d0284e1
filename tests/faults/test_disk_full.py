"""No room for records: `fail_open` answers all and counts what it lost, `fail_closed` says no.

The data directory is a small tmpfs that is filled to its last byte under load and emptied again.
"""

import json
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.chance import new_seed
from tests.support.command import all_captures, command
from tests.support.ledger import BrokenOff, Ledger, Load, Wire, chat_body, differences
from tests.support.served import WAIT_S, Served
from tests.support.simple_config import write_config
from tests.support.small_disk import fill, small_disk

CONFIG = """\
listen: 127.0.0.1:0
admin: 127.0.0.1:0
capture: {{directory: disk/data, on_error: {on_error}, durability: {durability}}}
backends:
  quick: {{adapter: simulated, profile: {{speed: instant}}}}
routes:
  default: {{candidates: [quick]}}
"""
DISK_KIB = 192 * 1024  # the load of a fast machine fits, journal and store together
FULL_S = 0.8
DROPPED = "pointsman_capture_dropped_total"


@contextmanager
def served_from_small_disk(
    directory: Path, *, on_error: str, durability: str = "process", workers: int = 2
) -> Iterator[tuple[Served, Path]]:
    """A server whose records go to a small disk, and that disk."""
    config = write_config(directory, CONFIG.format(on_error=on_error, durability=durability))
    with (
        small_disk(directory / "disk", DISK_KIB) as disk,
        Served(config, workers=workers) as served,
    ):
        yield served, disk


def counted(served: Served, name: str) -> int:
    """A counter's sum, once what the workers report has settled."""
    before = -1
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        _, text = served.get("/metrics")
        values = [
            float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name)
        ]
        assert values, f"no {name}"
        if before == sum(values):
            return before
        before = int(sum(values))
        time.sleep(1.2)  # the workers report at least once a second
    raise AssertionError(f"{name} goes on counting")


def short(draw: random.Random) -> bytes:
    """Answers of a few hundred bytes, so that the small disk holds the test's load."""
    return chat_body(f"short {draw.randrange(10**9)}", stream=draw.random() < 0.3)


@pytest.mark.parametrize("durability", ["process", pytest.param("power", marks=pytest.mark.slow)])
def test_f36_open_answers_all_and_counts_exactly_what_it_could_not_keep(
    tmp_path: Path, ledger: Ledger, durability: str
) -> None:
    seed = new_seed()
    with served_from_small_disk(tmp_path, on_error="fail_open", durability=durability) as (
        served,
        disk,
    ):
        with Load(served.listen, ledger, seed=seed, make_body=short, connections=4) as load:
            time.sleep(0.5)
            ballast = fill(disk)
            time.sleep(FULL_S)
            ballast.unlink()
            emptied_s = time.monotonic()
            time.sleep(1.3)  # more than the second it may take to resume
        assert load.failures == []
        dropped = counted(served, DROPPED)
        captures = all_captures(tmp_path / "config.yaml", "--bodies")
        assert served.events("child_died") == []
        problems = differences(ledger, captures)
        missing = {line.partition(":")[0] for line in problems if line.endswith(": missing")}
        assert len(missing) == len(problems), problems
        assert {entry.status for entry in ledger.entries.values()} == {200}
        assert 0 < len(missing) == dropped
        last_lost_s = max(ledger.entries[identifier].ended_s for identifier in missing)
        assert last_lost_s - emptied_s < 1.0
        verified = command("verify", "--deep", config=tmp_path / "config.yaml")
        assert verified.code == 1
        assert f"{dropped} missing (disk)" in added_up(verified.output)


def added_up(output: str) -> str:
    """The gaps of all workers as one line."""
    counts = [
        int(word)
        for line in output.splitlines()
        if "missing (disk)" in line
        for word in [line.partition(" missing (disk)")[0].split()[-1]]
    ]
    return f"{sum(counts)} missing (disk)"


@pytest.mark.timed
def test_f36_closed_answers_nothing_it_cannot_keep(tmp_path: Path, ledger: Ledger) -> None:
    draw = random.Random(new_seed())
    refused = cut = unready = 0
    with served_from_small_disk(tmp_path, on_error="fail_closed") as (served, disk):
        ask_once(served, ledger, chat_body())
        ballast = fill(disk)
        deadline_s = time.monotonic() + FULL_S
        while time.monotonic() < deadline_s:
            body = short(draw)
            try:
                with Wire(served.listen) as wire:
                    answer = wire.ask(body)
            except BrokenOff:
                assert json.loads(body)["stream"]
                cut += 1  # had begun when the disk said no: no clean end
                continue
            if answer.status == 200:
                ledger.add(body, answer)
                continue
            assert answer.status == 503
            assert answer.error["code"] == "capture_unavailable"
            assert int(answer.headers["retry-after"]) >= 1
            refused += 1
            unready += served.get("/readyz", port="listen")[0] == 503
        assert refused > 0
        assert unready > 0
        ballast.unlink()
        emptied_s = time.monotonic()
        while ask_once(served, ledger, chat_body("again")) == 503:
            assert time.monotonic() - emptied_s < 1.0
        kept = all_captures(tmp_path / "config.yaml", "--bodies")
        assert differences(ledger, kept) == []
        assert {capture["id"] for capture in kept if capture["complete"]} <= set(ledger.entries)
        assert counted(served, DROPPED) == 0


def ask_once(served: Served, ledger: Ledger, body: bytes) -> int:
    """One request on a connection of its own; entered where it was answered."""
    with Wire(served.listen) as wire:
        answer = wire.ask(body)
    if answer.status == 200:
        ledger.add(body, answer)
    return answer.status


@pytest.mark.timed
@pytest.mark.parametrize("on_error", ["fail_open", "fail_closed"])
def test_f36_processes_killed_while_the_disk_is_full_come_back(
    tmp_path: Path, on_error: str
) -> None:
    status = 200 if on_error == "fail_open" else 503
    with served_from_small_disk(tmp_path, on_error=on_error, workers=1) as (served, disk):
        assert served.chat()[0] == 200
        all_captures(tmp_path / "config.yaml")
        ballast = fill(disk)
        for name in ("worker 0", "keeper"):
            served.wait_for_child(name, other_than=served.kill_child(name))
            assert served.chat()[0] == status
        ballast.unlink()
        emptied_s = time.monotonic()
        while served.chat()[0] != 200:
            assert time.monotonic() - emptied_s < 1.0
        time.sleep(0.2)  # a writer that rests tries again within 0.1 s
        _, headers, _ = served.chat("kept again")
        kept = {capture["id"] for capture in all_captures(tmp_path / "config.yaml")}
        assert headers["x-pointsman-decision-id"] in kept
        assert {event["code"] for event in served.events("child_died")} == {-9}
