"""kill -9 of writers and of the fold at random moments: whatever was released is in the store."""

import random
import signal
import subprocess
import sys
import time

import pytest

from telemetry.catch_up import ensure_folded
from telemetry.queries import captures
from telemetry.verify import verify


def start(root, module, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.support.{module}", *map(str, arguments)],
        stdout=subprocess.PIPE,
        cwd=root,
    )


def kill(process):
    process.send_signal(signal.SIGKILL)
    output = process.stdout.read()
    process.stdout.close()
    process.wait()
    return output


def released(output):
    """Whole lines only: the last one may have been cut by the kill."""
    lines = output.decode().rpartition("\n")[0].splitlines()
    return {line.split()[0]: line.split()[1:] for line in lines}


def wait_for_output(process):
    return process.stdout.read1(1)


def one_round(root, directory, durability, ledger):
    writers = [start(root, "journal_writer", directory, n, durability) for n in (0, 1)]
    folding = start(root, "folder_process", directory)
    firsts = [wait_for_output(writer) for writer in writers]
    wait_for_output(folding)
    time.sleep(random.uniform(0.0, 0.4))
    victims = [*writers, folding]
    random.shuffle(victims)
    outputs = {}
    for victim in victims:
        outputs[victim.pid] = kill(victim)
        time.sleep(random.choice((0.0, 0.0, 0.05)))
    for writer, first in zip(writers, firsts, strict=True):
        ledger.update(released(first + outputs[writer.pid]))


def check(directory, ledger):
    ensure_folded(directory)
    found = {}
    for one in captures(directory):
        assert one["id"] not in found, "twice"
        found[one["id"]] = [one["request_sha256"], one["response_sha256"]]
    assert ledger.keys() <= found.keys()
    for identifier, hashes in ledger.items():
        assert found[identifier] == hashes
    assert verify(directory, deep=True).problems == []


@pytest.mark.parametrize("durability", ["process", "power"])
def test_all_that_was_released_survives_kill_9_once_and_unchanged(root, tmp_path, durability):
    ledger = {}
    for _ in range(3):
        one_round(root, tmp_path, durability, ledger)
    assert len(ledger) > 100
    check(tmp_path, ledger)


@pytest.mark.slow
def test_all_that_was_released_survives_fifty_kills(root, tmp_path):
    ledger = {}
    for number in range(50):
        one_round(root, tmp_path, random.choice(("process", "power")), ledger)
        if number % 10 == 9:
            check(tmp_path, ledger)
