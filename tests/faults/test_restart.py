"""F44: restarts under load, of the whole program and of single workers: nobody is refused."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.support.chance import new_seed
from tests.support.command import all_captures, command
from tests.support.ledger import Ledger, Load, chat_body, differences
from tests.support.served import WAIT_S, Served
from tests.support.simple_config import write_config

CONFIG = """\
listen: 127.0.0.1:0
admin: 127.0.0.1:0
backends:
  quick: {adapter: simulated, profile: {speed: instant}}
  slow: {adapter: simulated, profile: {first_token: 100ms, tokens_per_second: 40}}
routes:
  default: {candidates: [quick]}
"""
RACE = "after 0 bytes"
"""A stream's head left before the drain, so nothing told its client that the connection ends with
it; it sent again, saw no byte, and HTTP has it ask anew (RFC 9112 section 9.3.1). A refused or
broken answer reads otherwise."""


def short(draw: random.Random) -> bytes:
    """Quick answers, and now and then a stream of a second."""
    if draw.random() < 0.02:
        return chat_body(str(draw.random()), model="slow", stream=True)
    return chat_body(str(draw.random()), stream=draw.random() < 0.3)


def restart(served: Served) -> None:
    """The whole program, in place; returns when the new one says that it is ready."""
    before = served.children()
    served.process.send_signal(signal.SIGUSR2)
    assert served.process.stdout is not None
    assert "pointsman ready" in served.process.stdout.readline()
    after = served.children()
    assert after["worker 0"] != before["worker 0"]


def wait_until_settled(served: Served, old: dict[str, int]) -> None:
    """Until nobody of the old program is left."""
    deadline_s = time.monotonic() + WAIT_S
    while set(old.values()) & set(served.children().values()):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_f44_nobody_is_refused_while_the_program_is_replaced(
    tmp_path: Path, ledger: Ledger, times: int
) -> None:
    """Newcomers, a connection each, and clients that keep theirs, together 500 requests a second
    where the machine has the time for it."""
    seed = new_seed()
    config = write_config(tmp_path, CONFIG)
    with Served(config, workers=2) as served:
        newcomers = Load(
            served.listen, ledger, seed=seed, connections=4, make_body=short, is_kept=False
        )
        keepers = Load(
            served.listen, ledger, seed=seed + 1, connections=4, make_body=short, pause_s=0.01
        )
        with newcomers, keepers:
            time.sleep(0.3)
            for _ in range(times):
                old = served.children()
                restart(served)
                wait_until_settled(served, {name: old[name] for name in ("worker 0", "worker 1")})
            time.sleep(0.3)
        assert newcomers.failures == []
        assert [one for one in keepers.failures if RACE not in one] == []
        assert len(keepers.failures) <= 4 * times
        assert len(ledger.entries) > 100 * times
        assert {entry.status for entry in ledger.entries.values()} == {200}
        assert served.events("child_died") == []
        assert differences(ledger, all_captures(config, "--bodies")) == []
    assert command("verify", "--deep", config=config).code == 0


@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_f44_a_dying_worker_refuses_nobody_new(tmp_path: Path, ledger: Ledger, times: int) -> None:
    """Its socket is the supervisor's: who comes meanwhile waits for its successor."""
    draw = random.Random(new_seed())
    config = write_config(tmp_path, CONFIG)
    with Served(config, workers=2) as served:
        newcomers = Load(
            served.listen, ledger, seed=3, connections=4, make_body=short, is_kept=False
        )
        with newcomers:
            time.sleep(0.2)
            for _ in range(times):
                name = draw.choice(("worker 0", "worker 1"))
                pid = served.children()[name]
                os.kill(pid, signal.SIGTERM)  # it finishes what it has begun
                served.wait_for_child(name, other_than=pid)
                time.sleep(0.2)
        assert newcomers.failures == []
        assert {entry.status for entry in ledger.entries.values()} == {200}
        assert differences(ledger, all_captures(config, "--bodies")) == []
