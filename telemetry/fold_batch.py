"""One read of one segment, sorted by where its frames go. Pure."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from .day_store import DayBatch, Gap
from .frames import Damage, Frame, Kind
from .learning_store import LearningBatch, event_row, feedback_row, label_row
from .record import GAP_EVENT, BodyPart, EventRecord, FeedbackRecord, LabelRecord, RequestRecord
from .record_decoder import RecordDecoder
from .rows import Row, fits_column
from .store import day_at, day_of

_REQUEST: Final = int(Kind.REQUEST)
_decode_part: Final = msgspec.msgpack.Decoder(BodyPart).decode
_decode_feedback: Final = msgspec.msgpack.Decoder(FeedbackRecord).decode
_decode_label: Final = msgspec.msgpack.Decoder(LabelRecord).decode
_decode_event: Final = msgspec.msgpack.Decoder(EventRecord).decode


class Source(msgspec.Struct, frozen=True):
    """The segment a read comes from."""

    segment: str
    node: str
    worker: int
    writer: str
    created_us: int


class FoldBatch:
    """What goes to each day file and to `learning.db`.

    `bytes_done(day)` is how far in this segment a day file reaches already; what lies before
    that is left out for that day.
    """

    def __init__(self, source: Source, bytes_done: Callable[[str], int]) -> None:
        self.source = source
        self.days: dict[str, DayBatch] = {}
        self.learning = LearningBatch()
        self.damages: list[Damage] = []
        self.parts = 0
        self.verdicts = 0
        self._bytes_done = bytes_done
        self._done: dict[str, int] = {}
        self._decode_record = RecordDecoder()

    def add(self, found: Sequence[Frame | Damage]) -> None:
        """Sort `found`, in the segment's order."""
        for item in found:
            if isinstance(item, Damage):
                self._add_damage(item)
                continue
            try:
                if item.kind == _REQUEST:
                    record = self._decode_record(item.payload)
                    self._add_item(record, record.ts_us, item)
                else:
                    self._add_frame(item)
            except (msgspec.MsgspecError, ValueError, OverflowError):  # or of no day there is
                self._add_unread(item)

    def _add_frame(self, frame: Frame) -> None:
        if frame.kind == Kind.PART:
            self._add_item(_decode_part(frame.payload), self.source.created_us, frame)
            self.parts += 1
        elif frame.kind != Kind.HEADER:
            self._add_other(frame)

    def _add_item(self, item: RequestRecord | BodyPart, ts_us: int, frame: Frame) -> None:
        day = day_of(item.id, ts_us)
        batch = self._day(day)
        if frame.end > self._done[day]:
            batch.items.append(item)
            batch.offsets.append(frame.offset)

    def _add_other(self, frame: Frame) -> None:
        if frame.kind == Kind.FEEDBACK:
            row = feedback_row(_decode_feedback(frame.payload))
            self._add_verdict(row, self.learning.feedback, frame)
        elif frame.kind == Kind.LABEL:
            row = label_row(_decode_label(frame.payload))
            self._add_verdict(row, self.learning.labels, frame)
        elif frame.kind == Kind.EVENT:
            self._add_event(_decode_event(frame.payload), frame)
        else:
            self._add_unread(frame)

    def _add_verdict(self, row: Row, rows: list[Row], frame: Frame) -> None:
        """What the table cannot hold is kept unread: it must not hold up those behind it."""
        if all(fits_column(value) for value in row):
            rows.append(row)
            self.verdicts += 1
        else:
            self._add_unread(frame)

    def _add_event(self, event: EventRecord, frame: Frame) -> None:
        source = self.source
        row = event_row(event, source.segment, frame.offset, source.node)
        if not all(fits_column(value) for value in row):
            self._add_unread(frame)
            return
        self.learning.events.append(row)
        if event.name == GAP_EVENT:
            gap = Gap(event.ts_us, event.worker, event.text or "disk", event.number)
            self._add_gap(gap, frame.end)

    def keep_refused(self, batch: DayBatch, index: int) -> None:
        """An item of `batch` that SQLite cannot hold as rows: kept as its payload."""
        item = batch.items[index]
        kind = Kind.REQUEST if isinstance(item, RequestRecord) else Kind.PART
        self._keep_unread(batch.offsets[index], kind, msgspec.msgpack.encode(item))

    def _add_unread(self, frame: Frame) -> None:
        """A kind, or a shape, that a later version wrote: kept as it is."""
        self._keep_unread(frame.offset, frame.kind, bytes(frame.payload))

    def _keep_unread(self, offset: int, kind: int, payload: bytes) -> None:
        source = self.source
        row: Row = (source.segment, offset, kind, source.created_us, payload)
        self.learning.unread.append(row)

    def _add_damage(self, damage: Damage) -> None:
        self.damages.append(damage)
        if damage.frames_lost:
            source = self.source
            gap = Gap(source.created_us, source.worker, damage.reason, damage.frames_lost)
            self._add_gap(gap, damage.end)

    def _add_gap(self, gap: Gap, end: int) -> None:
        day = day_at(gap.ts_us // 1_000_000)
        batch = self._day(day)
        if end > self._done[day]:
            batch.gaps.append(gap)

    def _day(self, day: str) -> DayBatch:
        batch = self.days.get(day)
        if batch is None:
            batch = self.days[day] = DayBatch()
            self._done[day] = self._bytes_done(day)
        return batch
