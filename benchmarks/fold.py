"""CPU of the journal and of the fold, per record: 1 KB in, 1 KB out, 3 candidates, 1 attempt.

    python -m benchmarks.fold [--records 40000] [--rounds 3] [--directory D]

The fold is measured in a process of its own, as the keeper is one.

Beside each figure stands the same work done plainly, in the same run: appending the payload
bytes with one `write` each, and one executemany of two raw bodies a record into SQLite.
"""

import argparse
import asyncio
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from pointsman.tokens import Usage
from telemetry.config import Durability
from telemetry.fold import Folder
from telemetry.ids import new_id
from telemetry.journal import Journal
from telemetry.record import AttemptRecord, CandidateRecord, PlanRecord, RequestRecord

TURN = 16  # records a loop turn, as at saturation
BACKENDS = ("local", "gpt-4", "o3-mini")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", type=Path, help="where to write; default a temporary one")
    parser.add_argument("--fold-only", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fold_only:
        print(measure_fold(options.fold_only))
        return
    print(f"{options.records} records a round, {options.rounds} rounds, us of CPU a record")
    figures: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        directory = Path(tempfile.mkdtemp(dir=options.directory))
        try:
            for name, value in one_round(directory, options.records).items():
                figures.setdefault(name, []).append(value)
        finally:
            shutil.rmtree(directory)
    for name, values in figures.items():
        middle = statistics.median(values)
        print(f"{name:36} {middle:7.2f}   ({min(values):.2f} - {max(values):.2f})")


def fold_alone(directory: Path, *, records: int, rounds: int) -> float:
    """The fold's CPU in microseconds per record, with nothing beside it: the median of `rounds`."""
    found = []
    for number in range(rounds):
        place = directory / f"fold-{number}"
        uvloop.run(measure_journal(place, "process", records))
        found.append(fold_elsewhere(place))
        shutil.rmtree(place)
    return statistics.median(found)


def fold_elsewhere(directory: Path) -> float:
    """`measure_fold` in a process of its own."""
    command = (sys.executable, "-m", "benchmarks.fold", "--fold-only", str(directory))
    return float(subprocess.run(command, capture_output=True, check=True).stdout)


def one_round(directory: Path, count: int) -> dict[str, float]:
    """Each figure once."""
    figures = {
        "new_id": measure_ids(count),
        "plain write of the bodies": measure_writes(directory, count),
    }
    for durability in ("process", "power"):
        figures[f"journal append, {durability}"] = uvloop.run(
            measure_journal(directory / durability, durability, count)
        )
    figures["plain insert of two bodies"] = measure_inserts(directory, count)
    figures["fold"] = fold_elsewhere(directory / "process")
    return figures


def measure_ids(count: int) -> float:
    """Making an id."""
    started = time.process_time()
    for _ in range(count):
        new_id()
    return per_record(started, count)


def measure_writes(directory: Path, count: int) -> float:
    """One system call a record, nothing else."""
    payload = body() * 2
    descriptor = os.open(directory / "plain", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    started = time.process_time()
    for _ in range(count):
        os.write(descriptor, payload)
    spent = per_record(started, count)
    os.close(descriptor)
    return spent


async def measure_journal(directory: Path, durability: Durability, count: int) -> float:
    """From the finished record to its release: encode, checksum, writev; threads included."""
    loop = asyncio.get_running_loop()
    journal = Journal(directory, node="bench", worker=0, durability=durability, loop=loop)
    released = 0
    is_done = asyncio.Event()

    def release(is_kept: bool) -> None:
        nonlocal released
        released += is_kept
        if released == count:
            is_done.set()

    records = [record() for _ in range(count)]
    started = time.process_time()
    for first in range(0, count, TURN):
        for one in records[first : first + TURN]:
            journal.append(one, release)
        await asyncio.sleep(0)
    await is_done.wait()
    spent = per_record(started, count)
    journal.close()
    return spent


def measure_inserts(directory: Path, count: int) -> float:
    """SQLite with the least one could ask of it."""
    connection = sqlite3.connect(directory / "plain.db", isolation_level=None)
    connection.execute("pragma journal_mode=wal").fetchall()
    connection.execute("create table bodies(id integer primary key, request blob, response blob)")
    rows = [(body(), body()) for _ in range(count)]
    started = time.process_time()
    for first in range(0, count, 400):
        connection.execute("begin")
        connection.executemany(
            "insert into bodies(request, response) values (?,?)", rows[first : first + 400]
        )
        connection.execute("commit")
    spent = per_record(started, count)
    connection.close()
    return spent


def measure_fold(directory: Path) -> float:
    """Segments into rows, durably, hashes and checksums included."""
    folder = Folder(directory)
    started = time.process_time()
    report = folder.fold_all()
    spent = per_record(started, report.records)
    folder.close()
    return spent


def per_record(started_s: float, count: int) -> float:
    """Microseconds of this process's CPU since `started_s`, per record."""
    return (time.process_time() - started_s) / count * 1e6


def body() -> bytes:
    """1 KB of chat."""
    return b'{"model":"auto","messages":[{"role":"user","content":"%s"}]}' % (
        os.urandom(484).hex().encode()
    )


def record() -> RequestRecord:
    """What a worker writes for one plain request."""
    usage = Usage(250, 40)
    return RequestRecord(
        id=new_id(),
        ts_us=time.time_ns() // 1000,
        api="chat",
        status="ok",
        complete=True,
        capture="full",
        http_status=200,
        route="extract",
        backend="local",
        decided="local",
        policy="3f2a9c1d5e7b",
        model_asked="auto",
        model_used="liability-8b",
        model_reported="liability-8b",
        caller="billing",
        conversation="8c1f2e3d4a5b6978",
        task="extract-1",
        reason="cheapest of 3 that meet the limits",
        usage=usage,
        cost_usd=0.00031,
        first_byte_us=41_000,
        total_us=180_000,
        overhead_us=120,
        confidence=0.93,
        provider_response_id="chatcmpl-0123456789abcdef",
        candidates=tuple(candidate(name) for name in BACKENDS),
        attempts=(attempt(usage),),
        plan=(PlanRecord("fallback", "gpt-4", "on failure"),),
        request=body(),
        response=body(),
    )


def candidate(name: str) -> CandidateRecord:
    """One of three."""
    return CandidateRecord(
        name,
        True,
        name == "local",
        0.0003,
        170_000,
        410_000,
        0.97,
        None,
        1.0,
        False,
        "meets the limits",
    )


def attempt(usage: Usage) -> AttemptRecord:
    """The only one."""
    return AttemptRecord(
        "primary", "local", "liability-8b", 90, 41_000, 180_000, 200, None, "stop",
        usage, 0.00031, 0.93, -0.08, -1.2, 3, True, None,
    )  # fmt: skip


if __name__ == "__main__":
    main()
