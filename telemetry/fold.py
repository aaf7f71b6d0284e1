"""The fold: journal segments into the store, exactly once, safe to kill at any point.

    read about 1 MiB of a segment -> rows by day -> one commit a day file (rows and progress)
    -> one commit in learning.db -> tell the observer -> remove the segment once it is sealed
       and wholly folded

Rules:
- A segment is removed only when its writer has left it and every day file that takes rows from
  it has committed with `synchronous=FULL`.
- Damage is skipped, reported, and counted in `gaps`; a damaged segment is set aside
  (`*.damaged`), not removed. A torn tail is no damage: nobody was promised that record.
- One folder a directory: the fold lock. Not thread-safe; use it from one thread at a time.
"""

import gc
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from .day_store import DayStore, SegmentPlace
from .finished_days import DayFinisher
from .fold_batch import FoldBatch, Source
from .frames import TORN_TAIL, Frame, Scan
from .learning_store import LearningStore, Progress
from .lock import DirectoryLock
from .record import EventRecord, RequestRecord
from .segment_file import JOURNAL_FOLDER
from .segments import (
    READ_BYTES,
    UNNAMED_SUFFIX,
    SegmentReader,
    created_us_of,
    describe,
    list_segments,
    worker_of,
)
from .store import DAMAGED_SUFFIX, day_path, days, set_aside
from .sync import sync_directory

Observer = Callable[[RequestRecord], None]

LEARNED_NAME: Final = "policies"
READS_PER_PASS: Final = 32  # a pass is at most about 0.5 s, so that its caller can do other work
OPEN_DAYS_MAX: Final = 4
UNNAMED_AGE_S: Final = 60.0
FINISH_EVERY_S: Final = 60.0
ORPHAN_WAIT_S: Final = 60.0  # a writer whose disk is full may be without a segment for a while


@dataclass(slots=True)
class FoldReport:
    """What one pass did. `has_more`: it stopped early, ask again."""

    records: int = 0
    duplicates: int = 0
    parts: int = 0
    verdicts: int = 0
    unread: int = 0
    segments_removed: int = 0
    orphans: int = 0
    has_more: bool = False
    damages: list[str] = field(default_factory=list)
    """One line each, torn tails included."""


class Folder:
    """Holds the directory's fold lock from the start to `close`; raises Locked.

    `observer` is called with every record that was new, after it is safe in the store.
    """

    def __init__(
        self,
        directory: Path,
        *,
        observer: Observer | None = None,
        lock_timeout_s: float = 0.0,
        read_bytes: int = READ_BYTES,
        orphan_wait_s: float = ORPHAN_WAIT_S,
    ) -> None:
        self._directory = directory
        self._journal = directory / JOURNAL_FOLDER
        self._observer = observer
        self._read_bytes = read_bytes
        self._days: dict[str, DayStore] = {}
        self._sources: dict[str, Source] = {}
        self._troubles: list[str] = []
        self._finisher = DayFinisher(directory)
        self._finishing: threading.Thread | None = None
        self._finish_due_s = time.monotonic() + FINISH_EVERY_S
        self._orphan_wait_s = orphan_wait_s
        self._missing_since_s: dict[str, float] = {}
        self._lock = DirectoryLock(directory)
        self._lock.acquire(lock_timeout_s)
        try:
            self._learning = LearningStore(directory)
            self._days_with_parts = self._find_parts()
            self._forget_missing()
            self._remove_unnamed()
        except BaseException:
            self._lock.release()
            raise

    def __repr__(self) -> str:
        return f"<Folder {self._directory} days={list(self._days)}>"

    def fold_once(self) -> FoldReport:
        """One pass over what the journal holds now."""
        with _collector_paused():
            return self._fold_once()

    def _fold_once(self) -> FoldReport:
        report = FoldReport()
        report.damages, self._troubles = self._troubles, []
        reads = 0
        for path in list_segments(self._journal):
            if reads >= READS_PER_PASS:
                report.has_more = True
                return report
            reads += self._fold_segment(path, report, READS_PER_PASS - reads)
        report.has_more = reads >= READS_PER_PASS
        report.orphans = self._drop_orphans()
        if not report.records:
            self._finish_days()
        return report

    def fold_all(self) -> FoldReport:
        """Passes until nothing is left; their sum."""
        total = FoldReport()
        while True:
            report = self.fold_once()
            total.records += report.records
            total.duplicates += report.duplicates
            total.parts += report.parts
            total.verdicts += report.verdicts
            total.unread += report.unread
            total.segments_removed += report.segments_removed
            total.orphans += report.orphans
            total.damages += report.damages
            if not report.has_more:
                return total

    def note(self, event: EventRecord) -> None:
        """Keep an event of our own."""
        self._learning.add_event(event)

    def save_learned(self, data: bytes, *, name: str = LEARNED_NAME) -> None:
        """Keep learned state across restarts."""
        self._learning.save_learned(name, data)

    def load_learned(self, *, name: str = LEARNED_NAME) -> bytes | None:
        """Learned state as last saved."""
        return self._learning.load_learned(name)

    def close(self) -> None:
        """Close the files and let go of the lock."""
        if self._finishing is not None:
            self._finisher.interrupt()
            self._finishing.join()
        for store in self._days.values():
            store.close()
        self._days.clear()
        self._learning.close()
        self._lock.release()

    # -- one segment ------------------------------------------------------------------------

    def _fold_segment(self, path: Path, report: FoldReport, reads_max: int) -> int:
        """Fold what is there, at most `reads_max` reads; how many were made."""
        progress = self._learning.progress(path.name)
        with SegmentReader(path) as reader:
            is_sealed = reader.is_sealed()
            size = reader.size()
            source = self._source_of(reader)
            for reads in range(reads_max):
                if progress.bytes_done >= size:
                    break
                scan = reader.read(
                    progress.bytes_done,
                    progress.next_sequence,
                    size=size,
                    is_sealed=is_sealed,
                    read_bytes=self._read_bytes,
                )
                if scan.consumed == progress.bytes_done:
                    return reads
                progress = self._fold_scan(scan, source, progress, report)
            else:
                return reads_max
        if is_sealed:
            self._remove(path, progress, report)
        return reads

    def _fold_scan(
        self, scan: Scan, source: Source, progress: Progress, report: FoldReport
    ) -> Progress:
        """Commit one read; the progress behind it."""
        batch = FoldBatch(source, lambda day: self._day(day).bytes_done(source.segment))
        batch.add(scan.found)
        place = SegmentPlace(
            source.segment, source.node, source.worker, source.writer, scan.consumed
        )
        new: list[RequestRecord] = []
        for day in batch.days:
            new += self._write_day(day, place, batch, report)
        progress = _behind(scan, progress)
        self._learning.write(
            batch.learning,
            segment=source.segment,
            node=source.node,
            worker=source.worker,
            progress=progress,
        )
        _count(report, batch, len(new))
        if self._observer is not None:
            for record in new:
                self._observer(record)
        return progress

    def _write_day(
        self, day: str, place: SegmentPlace, batch: FoldBatch, report: FoldReport
    ) -> list[RequestRecord]:
        day_batch = batch.days[day]
        result = self._day(day).write(day_batch, place, time.time_ns() // 1000)
        report.duplicates += result.duplicates
        for index, why in result.refused:
            batch.keep_refused(day_batch, index)
            report.damages.append(f"{place.segment}: byte {day_batch.offsets[index]}: {why}")
        if len(day_batch.items) > len(result.new):
            self._days_with_parts.add(day)
        return result.new

    def _source_of(self, reader: SegmentReader) -> Source:
        """Who wrote a segment; by its name where the header is damaged."""
        path = reader.path
        source = self._sources.get(path.name)
        if source is None:
            header = reader.header()
            node, writer = (header.node, header.writer) if header else ("", path.name)
            source = Source(path.name, node, worker_of(path), writer, created_us_of(path))
            self._sources[path.name] = source
        return source

    def _remove(self, path: Path, progress: Progress, report: FoldReport) -> None:
        """The segment is sealed and all of it is in the store."""
        if progress.damages:
            path.rename(path.with_name(path.name + DAMAGED_SUFFIX))
        else:
            path.unlink(missing_ok=True)
        sync_directory(self._journal)
        self._learning.forget_progress(path.name)
        self._sources.pop(path.name, None)
        report.segments_removed += 1

    # -- the rest ---------------------------------------------------------------------------

    def _day(self, day: str) -> DayStore:
        """The open file of `day`; anew where retention or an operator removed it."""
        store = self._days.pop(day, None)
        if store is not None and store.is_gone:
            store.close()
            store = None
        if store is None:
            store = self._open_day(day)
        self._days[day] = store
        while len(self._days) > OPEN_DAYS_MAX:
            self._days.pop(next(iter(self._days))).close()
        return store

    def _open_day(self, day: str) -> DayStore:
        """A file that is no database any more is set aside: the day goes on in a new one."""
        path = day_path(self._directory, day)
        try:
            return DayStore(path)
        except sqlite3.OperationalError:  # full, locked, not permitted: the file may be sound
            raise
        except sqlite3.DatabaseError as error:
            set_aside(path)
            self._troubles.append(f"{path.name}: {error}; set aside as *{DAMAGED_SUFFIX}")
            return DayStore(path)

    def _finish_days(self) -> None:
        """Where there is nothing to fold, now and then: index a day that is over, aside.

        It takes a second per million records and holds up only what still comes for that day.
        """
        if time.monotonic() < self._finish_due_s:
            return
        self._finish_due_s = time.monotonic() + FINISH_EVERY_S
        if self._finishing is None or not self._finishing.is_alive():
            self._finishing = threading.Thread(
                target=self._finisher.finish_one, args=(time.time(),), name="finish", daemon=True
            )
            self._finishing.start()

    def _find_parts(self) -> set[str]:
        """Days with parts that wait; opening each also brings its schema up to date."""
        return {day for day in days(self._directory) if self._day(day).has_parts()}

    def _drop_orphans(self) -> int:
        """Parts of writers that have had no segment for a while will never get their record."""
        if not self._days_with_parts:
            return 0
        now_s = time.monotonic()
        living = set()
        for path in list_segments(self._journal):
            with suppress(FileNotFoundError), SegmentReader(path) as reader:
                living.add(self._source_of(reader).writer)
        dropped = 0
        for day in sorted(self._days_with_parts):
            store = self._day(day)
            waiting = store.part_writers()
            for writer in waiting - living:
                self._missing_since_s.setdefault(writer, now_s)
            dead = {
                writer
                for writer in waiting - living
                if now_s - self._missing_since_s[writer] >= self._orphan_wait_s
            }
            if dead:
                dropped += store.drop_orphans(dead, time.time_ns() // 1000)
            if not waiting - dead:
                self._days_with_parts.discard(day)
        return dropped

    def _forget_missing(self) -> None:
        """Progress of segments that are gone: removed by us before a crash, or by somebody."""
        there = {path.name for path in list_segments(self._journal)}
        for segment in self._learning.segments():
            if segment not in there:
                self._learning.forget_progress(segment)

    def _remove_unnamed(self) -> None:
        """Segments whose writer died before it could name them hold nothing."""
        for path in self._journal.glob(f"*{UNNAMED_SUFFIX}"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > UNNAMED_AGE_S:
                    path.unlink()


@contextmanager
def _collector_paused() -> Iterator[None]:
    """A pass makes many tuples and no cycles: looking for some costs 4 us a record."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _behind(scan: Scan, progress: Progress) -> Progress:
    """Progress after `scan`. Torn tails are no damage."""
    sequence, damages = progress.next_sequence, progress.damages
    for item in scan.found:
        if isinstance(item, Frame):
            sequence = item.sequence + 1
        elif item.reason != TORN_TAIL:
            damages += 1
    return Progress(scan.consumed, sequence, damages)


def _count(report: FoldReport, batch: FoldBatch, records: int) -> None:
    report.records += records
    report.parts += batch.parts
    report.verdicts += batch.verdicts
    report.unread += len(batch.learning.unread)
    report.damages += [describe(damage, batch.source.segment) for damage in batch.damages]
