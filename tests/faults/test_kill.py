"""kill -9 of any process, or all, at random moments under load: nothing answered is lost.

A round starts a real server, loads it, kills, and ends with the death of everybody; the next
one starts on what is left. At the end the client's ledger is held against the store.
"""

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.chance import new_seed
from tests.support.command import all_captures, command, start_command
from tests.support.ledger import Ledger, Load, chat_body, differences, mixed
from tests.support.served import WAIT_S, Served
from tests.support.simple_config import write_config

CONFIG = """\
listen: 127.0.0.1:0
admin: 127.0.0.1:0
capture: {{durability: {durability}}}
backends:
  quick: {{adapter: simulated, profile: {{speed: instant}}}}
  long: {{adapter: simulated, profile: {{speed: instant, completion_tokens: 8000}}}}
routes:
  default: {{candidates: [quick]}}
"""
VICTIMS = ("worker", "fold", "supervisor", "keeper", "all")


def with_long_ones(draw: random.Random) -> bytes:
    """Now and then an answer of two megabytes, which goes to the journal in parts."""
    if draw.random() < 0.004:
        return chat_body(f"long {draw.random()}", model="long", stream=True)
    return mixed(draw)


def kill(pid: int) -> None:
    """-9, if it still lives."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def kill_all(served: Served, draw: random.Random) -> None:
    """Everybody within a moment, in any order; those started again meanwhile die as orphans."""
    pids = [served.process.pid, *served.children().values()]
    draw.shuffle(pids)
    for pid in pids:
        kill(pid)
    wait_for_end(served, pids)


def kill_supervisor(served: Served) -> None:
    """It alone: its children have to follow."""
    pids = list(served.children().values())
    served.process.kill()
    wait_for_end(served, pids)


def wait_for_end(served: Served, pids: list[int]) -> None:
    """Until all are gone."""
    served.process.wait(WAIT_S)
    deadline_s = time.monotonic() + WAIT_S
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline_s, f"still there: {pids}"
        time.sleep(0.005)


def is_alive(pid: int) -> bool:
    """Dead ones may wait a second for the machine's first process to take note of them."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def kill_one(served: Served, name: str) -> float:
    """One child; returns how long the next took to be there, in seconds."""
    started_s = time.monotonic()
    served.wait_for_child(name, other_than=served.kill_child(name))
    return time.monotonic() - started_s


def kill_folding(served: Served, draw: random.Random) -> None:
    """The keeper, just after it woke up to a pile of unfolded records."""
    pid = served.children()["keeper"]
    os.kill(pid, signal.SIGSTOP)
    time.sleep(0.3)
    os.kill(pid, signal.SIGCONT)
    time.sleep(draw.uniform(0.0, 0.15))
    kill(pid)
    served.wait_for_child("keeper", other_than=pid)


def kill_command(config: Path, draw: random.Random) -> None:
    """A command that folds what the dead server left."""
    folding = start_command("captures", "--json", config=config)
    time.sleep(draw.uniform(0.1, 0.6))
    kill(folding.pid)
    folding.wait(WAIT_S)


def wait_for_answers(ledger: Ledger, count: int) -> None:
    """Until there is load; the simulator may still be starting."""
    deadline_s = time.monotonic() + WAIT_S
    while len(ledger.entries) < count:
        assert time.monotonic() < deadline_s, f"{len(ledger.entries)} answers, not {count}"
        time.sleep(0.01)


def one_round(config: Path, ledger: Ledger, victim: str, draw: random.Random) -> list[str]:
    """From a start to the death of all; returns what the client saw break before that."""
    with Served(config, workers=2) as served:
        seed = draw.randrange(2**32)
        with Load(served.listen, ledger, seed=seed, make_body=with_long_ones) as load:
            wait_for_answers(ledger, len(ledger.entries) + 50)
            time.sleep(draw.uniform(0.0, 0.5))
            if victim == "worker":
                assert kill_one(served, draw.choice(("worker 0", "worker 1"))) < 3.0
            elif victim == "keeper":
                kill_one(served, "keeper")
            elif victim == "fold":
                kill_folding(served, draw)
            broken = list(load.failures)
            if victim in ("worker", "keeper", "fold"):
                time.sleep(draw.uniform(0.1, 0.5))
                broken = list(load.failures)
            if victim == "supervisor":
                kill_supervisor(served)
            else:
                kill_all(served, draw)
    if draw.random() < 0.5:
        kill_command(config, draw)
    return broken


def play(config: Path, ledger: Ledger, victims: list[str], draw: random.Random) -> None:
    """One round for each victim; what breaks must be the victim's own doing."""
    for victim in victims:
        broken = one_round(config, ledger, victim, draw)
        if victim != "worker":
            assert broken == []
        else:
            assert len(broken) <= 6, "more than was in the hands of one worker"


def check(config: Path, ledger: Ledger) -> None:
    """The ledger against the store, as an operator reads it, and the store against itself."""
    assert {entry.status for entry in ledger.entries.values()} == {200}
    assert differences(ledger, all_captures(config, "--bodies")) == []
    verified = command("verify", "--deep", config=config)
    assert verified.code == 0, verified.output + verified.errors
    exported = command("export", "--format", "openai-chat", "--output",
                       str(config.parent / "export.jsonl"), config=config)  # fmt: skip
    assert exported.code == 0, exported.errors
    lines = (config.parent / "export.jsonl").read_bytes().count(b"\n")
    assert lines >= len(ledger.entries)


def test_f33_f34_nothing_answered_is_lost_when_processes_are_killed(
    tmp_path: Path, ledger: Ledger
) -> None:
    draw = random.Random(new_seed())
    config = write_config(tmp_path, CONFIG.format(durability="process"))
    victims = ["worker", "fold", "supervisor", "all"]
    draw.shuffle(victims)
    play(config, ledger, victims, draw)
    check(config, ledger)


def test_f34_nothing_answered_is_lost_with_durability_power(tmp_path: Path, ledger: Ledger) -> None:
    draw = random.Random(new_seed())
    config = write_config(tmp_path, CONFIG.format(durability="power"))
    play(config, ledger, [draw.choice(("worker", "fold", "all"))], draw)
    check(config, ledger)


@pytest.mark.slow
@pytest.mark.parametrize(("durability", "rounds"), [("process", 50), ("power", 15)])
def test_f34_nothing_answered_is_lost_in_many_rounds(
    tmp_path: Path, ledger: Ledger, durability: str, rounds: int
) -> None:
    draw = random.Random(new_seed())
    config = write_config(tmp_path, CONFIG.format(durability=durability))
    for done in range(rounds):
        play(config, ledger, [VICTIMS[done % len(VICTIMS)]], draw)
        if done % 10 == 9:
            assert differences(ledger, all_captures(config, "--bodies")) == []
    check(config, ledger)
