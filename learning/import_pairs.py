"""Request/response pairs from elsewhere into the store, as captures with their source.

    FILE.jsonl -> each line -> record (import_row) -> journal -> folded like any other

Rows go through the journal, so the one writer of the store stays the only one, whether a server
runs or not. A row that cannot be read is reported with its number and the reason; the others are
imported. A killed import is run again: a row has the same id every time and is kept once.
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from telemetry.errors import StoreError
from telemetry.journal import Journal
from telemetry.record import RequestRecord

from .import_row import BODY_BYTES_MAX, BadRow, record_of

Progress = Callable[[int, int], None]

LINE_BYTES_MAX: Final = 2 * BODY_BYTES_MAX  # escapes and the other members
FAULTS_MAX: Final = 100  # of rows that are named; the rest are counted
PAUSE_ROWS: Final = 64
WORKER: Final = 990  # the number in the journal's file names; workers count from 0
NODE: Final = "import"


@dataclass(slots=True)
class Fault:
    """A row that was left out; `row` counts from 1."""

    row: int
    reason: str


@dataclass(slots=True)
class ImportReport:
    """What became of a file's rows."""

    path: Path
    source: str
    rows: int = 0
    """Handed to the store; those it had already are kept once."""
    bad: int = 0
    faults: list[Fault] = field(default_factory=list)
    """The first FAULTS_MAX of them."""

    def add_fault(self, row: int, reason: str) -> None:
        """One more row that is left out."""
        self.bad += 1
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(Fault(row, reason))


def import_file(
    directory: Path,
    path: Path,
    *,
    source: str,
    progress: Progress = lambda done, total: None,
) -> ImportReport:
    """Put the rows of `path` into the journal of `directory`; `progress(bytes done, in all)`.

    Rows without a time of their own get the file's. Raises OSError where the file cannot be
    read, StoreError where the disk is full: what came before is kept.
    """
    report = ImportReport(path, source)
    with path.open("rb") as file:
        facts = os.fstat(file.fileno())
        records = _records(file, report, fallback_ms=int(facts.st_mtime * 1000))
        asyncio.run(_append(directory, records, lambda: progress(file.tell(), facts.st_size)))
    return report


def _records(
    file: BinaryIO, report: ImportReport, *, fallback_ms: int
) -> Iterator[tuple[int, RequestRecord]]:
    for number, line in lines(file):
        if line is None:
            report.add_fault(number, f"longer than {LINE_BYTES_MAX} bytes")
        elif line.strip():
            try:
                record = record_of(line.strip(), source=report.source, fallback_ms=fallback_ms)
            except BadRow as error:
                report.add_fault(number, str(error))
            else:
                report.rows += 1
                yield number, record


def lines(file: BinaryIO, bytes_max: int = LINE_BYTES_MAX) -> Iterator[tuple[int, bytes | None]]:
    """Numbered lines of bounded length; None for one that is longer, which is passed over."""
    number = 0
    while line := file.readline(bytes_max):
        number += 1
        if line.endswith(b"\n") or len(line) < bytes_max:
            yield number, line
            continue
        while (rest := file.readline(bytes_max)) and not rest.endswith(b"\n"):
            pass
        yield number, None


async def _append(
    directory: Path, records: Iterator[tuple[int, RequestRecord]], tell: Callable[[], None]
) -> None:
    loop = asyncio.get_running_loop()
    journal = Journal(directory, node=NODE, worker=WORKER, on_error="fail_closed", loop=loop)
    refused: list[int] = []
    try:
        for count, (number, record) in enumerate(records):
            journal.append(record, partial(_note, refused, number))
            if count % PAUSE_ROWS == 0 or journal.counters.queue_bytes > BODY_BYTES_MAX // 4:
                tell()
                await asyncio.sleep(0)
                _check(journal, refused)
    finally:
        journal.close()
    _check(journal, refused)


def _note(refused: list[int], number: int, is_kept: bool) -> None:
    if not is_kept:
        refused.append(number)


def _check(journal: Journal, refused: list[int]) -> None:
    if refused:
        why = journal.counters.last_error or "the journal could not be written"
        raise StoreError(f"row {refused[0]} could not be kept: {why}; run the import again")
