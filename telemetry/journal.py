"""The journal of one worker: a record is with the kernel before its answer ends.

Place in a request: the last step. The proxy holds the terminal bytes of an answer, appends
the record, and sends them when `release(True)` comes back.

Rules:
- All frames of one turn of the loop go out in one `writev`; then their releases are called,
  in order. `durability: process` needs no more (the page cache outlives a killed process);
  a thread calls fdatasync every 100 ms behind it. `power` waits for a group fdatasync.
- A frame is whole or gone: after a failed write the file is cut back to the last whole frame,
  or left for a new segment where the cut fails too (`segment_writer`).
- What cannot be kept is counted exactly: `dropped` (fail_open: answered all the same) or
  `refused` (fail_closed: the client gets a 503). A `gap` event says so in the journal as soon
  as it takes bytes again; a new try is made every 100 ms.
- A failed fdatasync is never repeated as if it could still work: the segment is left, and in
  `power` its unconfirmed frames are cut off and written once more to a new one.
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from .capture_level import reduced
from .config import Durability, OnError
from .entry import Entry, Release
from .frames import PAYLOAD_BYTES_MAX, Kind
from .journal_counters import JournalCounters
from .logs import log
from .record import GAP_EVENT, BodyPart, EventRecord, FeedbackRecord, LabelRecord, RequestRecord
from .segment_file import JOURNAL_FOLDER
from .segment_writer import SEGMENT_BYTES_MAX, SegmentWriter
from .sync import Synchroniser

QUEUE_BYTES_MAX: Final = 64 << 20  # only a stalled disk fills it; what is beyond is not kept
EARLY_WRITE_BYTES: Final = 1 << 20
"""No more is left to the end of a turn, but for one large record: that has the turn to itself."""
SYNC_EVERY_S: Final = 0.1  # what a power cut may take in `process`
SYNC_AFTER_ERROR_S: Final = 1.0
SYNC_TRIES: Final = 2
_REQUEST: Final = Kind.REQUEST  # looked up once: an enum's member costs more than a record's
MAIMED_MAX: Final = 10_000  # answers with a lost part; beyond, the oldest is forgotten


class Journal:
    """Appends the records of one worker; on `loop`'s thread only. Close it to flush.

    `release(ok)` is called once a record, in order, never from within `append`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        node: str,
        worker: int,
        durability: Durability = "process",
        on_error: OnError = "fail_open",
        loop: asyncio.AbstractEventLoop,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
    ) -> None:
        self._writer = SegmentWriter(
            directory / JOURNAL_FOLDER,
            node=node,
            worker=worker,
            clock_s=loop.time,
            segment_bytes_max=segment_bytes_max,
        )
        self._worker = worker
        self._loop = loop
        self._waits_for_sync = durability == "power"
        self._answers_anyway = on_error == "fail_open"
        self._encode = msgspec.msgpack.Encoder().encode
        self._counters = JournalCounters()
        self._written = 0
        self._bytes_written = 0
        self._queue_bytes = 0
        self._entries: list[Entry] = []
        self._entries_bytes = 0
        self._unsynced: list[Entry] = []
        self._syncing: list[Entry] = []
        self._sync_failures = 0
        self._sync_timer: asyncio.TimerHandle | None = None
        self._done: list[tuple[Release, bool]] = []
        self._is_flush_due = False
        self._gap_records = 0
        self._maimed: dict[str, None] = {}
        self._synchroniser = Synchroniser(
            self._writer, loop, self._on_synced, cuts_unconfirmed=self._waits_for_sync
        )
        self._writer.open()

    def __repr__(self) -> str:
        return f"<Journal {self._writer!r} {self.counters!r}>"

    # -- what the proxy calls ---------------------------------------------------------------

    @property
    def counters(self) -> JournalCounters:
        """A snapshot."""
        counts = msgspec.structs.replace(self._counters)
        counts.written = self._written
        counts.bytes_written = self._bytes_written
        counts.queue_bytes = self._queue_bytes
        counts.segments = self._writer.segments
        counts.write_errors = self._writer.errors
        counts.last_error = self._writer.last_error
        return counts

    @property
    def is_refusing(self) -> bool:
        """`fail_closed` and the disk refused a moment ago: answer 503 before asking a backend."""
        return not self._answers_anyway and self._writer.is_resting

    def append(self, record: RequestRecord, release: Release) -> None:
        """Keep `record` at its capture level; `release(ok)` says whether to send the end.

        About 5 us for 2 KB, the write included, in turns of 16.
        """
        if record.capture != "full":
            record = reduced(record)
        try:
            payload = self._encode(record)
        except (ValueError, OverflowError, TypeError) as error:  # lone surrogates, huge numbers
            self._writer.last_error = f"encode {record.id}: {error}"
            log("record_unencodable", level="error", id=record.id, error=type(error).__name__)
            payload = b""
        entry = Entry(_REQUEST, payload, release, record.id)
        if not payload or (self._maimed and record.id in self._maimed):
            self._maimed.pop(record.id, None)
            self._lose(entry, is_queued=False)
            self._schedule_flush()
            return
        self._queue(entry)

    def append_part(self, part: BodyPart) -> None:
        """Keep a piece of a long answer; its record, appended later, says how many there are."""
        self._queue(Entry(Kind.PART, self._encode(part), None, part.id))

    def append_feedback(self, feedback: FeedbackRecord, release: Release | None = None) -> None:
        """Keep what a caller said about an answer. `release(False)`: it could not be kept,
        whatever `on_error` says, for there is no answer that goes out without it."""
        self._queue(Entry(Kind.FEEDBACK, self._encode(feedback), release))

    def append_label(self, label: LabelRecord, release: Release | None = None) -> None:
        """Keep a verdict."""
        self._queue(Entry(Kind.LABEL, self._encode(label), release))

    def append_event(self, event: EventRecord, release: Release | None = None) -> None:
        """Keep word of something that befell this worker."""
        self._queue(Entry(Kind.EVENT, self._encode(event), release))

    def flush(self) -> None:
        """Write what is queued and call the releases due; the loop does this once a turn."""
        self._is_flush_due = False
        self._write()
        done, self._done = self._done, []
        for release, is_kept in done:
            self._call(release, is_kept)
        self._plan_sync()

    def close(self) -> None:
        """Write and confirm everything, call the releases due, seal the segment. Blocks."""
        if self._sync_timer is not None:
            self._sync_timer.cancel()
        self._write()
        error = self._synchroniser.close()
        unsynced = self._syncing + self._unsynced
        self._syncing, self._unsynced = [], []
        if error is None:
            self._confirm(unsynced)
            unsynced = []
        for entry in unsynced:
            self._lose(entry)
        done, self._done = self._done, []
        for release, is_kept in done:
            self._call(release, is_kept)

    # -- one turn ---------------------------------------------------------------------------

    def _queue(self, entry: Entry) -> None:
        size = len(entry.payload)
        if self._entries and self._entries_bytes + size > EARLY_WRITE_BYTES:
            self._write()
        if size > PAYLOAD_BYTES_MAX or self._queue_bytes + size > QUEUE_BYTES_MAX:
            self._lose(entry, is_queued=False)
        else:
            self._queue_bytes += size
            self._entries_bytes += size
            self._entries.append(entry)
        if not self._is_flush_due:
            self._schedule_flush()

    def _schedule_flush(self) -> None:
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self.flush)

    def _write(self) -> None:
        entries, self._entries, self._entries_bytes = self._entries, [], 0
        reported = self._gap_records
        if reported and not self._writer.is_resting:
            entries.insert(0, self._gap_entry(reported))
        else:
            reported = 0
        if not entries:
            return
        kept = self._writer.write(entries)
        if reported:
            self._gap_records -= reported if kept else 0
            entries, kept = entries[1:], max(0, kept - 1)
        if self._waits_for_sync:
            self._unsynced += entries[:kept]
        else:
            self._confirm(entries[:kept])
        for entry in entries[kept:]:
            self._lose(entry)

    def _gap_entry(self, records: int) -> Entry:
        event = EventRecord(time.time_ns() // 1000, GAP_EVENT, self._worker, records, "disk")
        return Entry(Kind.EVENT, self._encode(event))

    def _confirm(self, entries: Sequence[Entry]) -> None:
        """`entries` are as safe as was asked for."""
        size = 0
        for entry in entries:
            size += len(entry.payload)
            if entry.kind is _REQUEST:
                self._written += 1
            if entry.release is not None:
                self._done.append((entry.release, True))
        self._queue_bytes -= size
        self._bytes_written += size

    def _lose(self, entry: Entry, *, is_queued: bool = True) -> None:
        """`entry` could not be kept: count it, and let `on_error` decide about the answer."""
        counters = self._counters
        if is_queued:
            self._queue_bytes -= len(entry.payload)
        if entry.kind is Kind.PART:
            counters.parts_dropped += 1
            self._maim(entry.owner)
        elif entry.kind is not Kind.REQUEST:
            counters.events_dropped += 1
        elif self._answers_anyway:
            counters.dropped += 1
            self._gap_records += 1
        else:
            counters.refused += 1
        if entry.release is not None:
            is_answer = entry.kind is Kind.REQUEST
            self._done.append((entry.release, is_answer and self._answers_anyway))

    def _maim(self, owner: str | None) -> None:
        """A record whose answer lacks a part is not kept: half a body is no record of it."""
        if owner is None:
            return
        if len(self._maimed) >= MAIMED_MAX:
            del self._maimed[next(iter(self._maimed))]
        self._maimed[owner] = None

    def _call(self, release: Release, is_kept: bool) -> None:
        try:
            release(is_kept)
        except Exception as error:  # noqa: BLE001 - one exchange's fault must not keep the others' answers
            self._loop.call_exception_handler({"message": "release failed", "exception": error})

    # -- to the disk ------------------------------------------------------------------------

    def _plan_sync(self) -> None:
        if self._synchroniser.is_running:
            return
        if self._waits_for_sync:
            if self._unsynced:
                self._syncing, self._unsynced = self._unsynced, []
                self._synchroniser.start()
        elif self._sync_timer is None and self._writer.is_unsynced:
            wait_s = SYNC_AFTER_ERROR_S if self._sync_failures else SYNC_EVERY_S
            self._sync_timer = self._loop.call_later(wait_s, self._sync_behind)

    def _sync_behind(self) -> None:
        self._sync_timer = None
        self._synchroniser.start()

    def _on_synced(self, error: OSError | None) -> None:
        batch, self._syncing = self._syncing, []
        if error is None:
            self._sync_failures = 0
            self._confirm(batch)
        else:
            self._counters.sync_errors += 1
            self._sync_failures += 1
            self._write_again(batch)
        self.flush()

    def _write_again(self, batch: Sequence[Entry]) -> None:
        """What the failed pass should have confirmed was cut off; once more, or not at all."""
        unconfirmed, self._unsynced = [*batch, *self._unsynced], []
        if self._sync_failures < SYNC_TRIES:
            self._entries[:0] = unconfirmed
            return
        self._sync_failures = 0 if self._waits_for_sync else self._sync_failures
        for entry in unconfirmed:
            self._lose(entry)
