import msgspec
import pytest

from telemetry.fold_batch import FoldBatch, Source
from telemetry.frames import Damage, Frame, Kind
from telemetry.record import BodyPart, EventRecord, FeedbackRecord, LabelRecord
from tests.support.records import make_record

SOURCE = Source("a.seg", "here", 2, "writer", 1_700_000_000_000_000)
DAY = "2023-11-14"


def frame(kind, value, end=100):
    payload = value if isinstance(value, bytes) else msgspec.msgpack.encode(value)
    return Frame(end - 50, end, 1, kind, memoryview(payload))


def sort(*found, done=0):
    batch = FoldBatch(SOURCE, lambda day: done)
    batch.add(found)
    return batch


def old_record():
    return make_record(id="imported", ts_us=1_700_000_000_000_000)


def test_records_go_to_their_day_with_their_place():
    batch = sort(frame(Kind.HEADER, b""), frame(Kind.REQUEST, old_record()))
    assert list(batch.days) == [DAY]
    assert [item.id for item in batch.days[DAY].items] == ["imported"]
    assert batch.days[DAY].offsets == [50]


def test_what_a_day_file_has_already_is_left_out_for_it():
    found = [frame(Kind.REQUEST, old_record(), end=end) for end in (100, 200, 300)]
    assert len(sort(*found, done=200).days[DAY].items) == 1
    assert len(sort(*found, done=199).days[DAY].items) == 2


def test_damage_that_lost_records_is_a_gap_of_the_segments_day_once():
    damage = Damage(10, 100, "corrupt", 3)
    [gap] = sort(damage).days[DAY].gaps
    assert (gap.worker, gap.reason, gap.records) == (2, "corrupt", 3)
    assert sort(damage, done=100).days[DAY].gaps == []
    assert sort(Damage(10, 100, "torn tail", 0)).days == {}


def test_a_gap_event_is_an_event_and_a_gap():
    batch = sort(frame(Kind.EVENT, EventRecord(1_700_000_000_000_000, "gap", 1, 9, "disk")))
    assert [gap.records for gap in batch.days[DAY].gaps] == [9]
    assert len(batch.learning.events) == 1
    assert sort(frame(Kind.EVENT, EventRecord(1, "started", 1))).days == {}


def test_a_record_of_no_day_there_is_is_kept_as_it_is():
    record = make_record(id="ffffffff-ffff-7000-8000-000000000000")
    imported = make_record(id="imported", ts_us=1 << 62)
    batch = sort(frame(Kind.REQUEST, record), frame(Kind.REQUEST, imported))
    assert batch.days == {}
    assert [row[4] for row in batch.learning.unread] == [
        msgspec.msgpack.encode(record), msgspec.msgpack.encode(imported),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        (Kind.FEEDBACK, FeedbackRecord("f", "r", 1 << 63, "thumb")),
        (Kind.FEEDBACK, FeedbackRecord("f", "r", 1, "thumb", number=float("nan"))),
        (Kind.LABEL, LabelRecord("l", "r", b"h", "human", 1, sample_no=1 << 63)),
        (Kind.EVENT, EventRecord(1, "x", 1, 1 << 63)),
    ],
)
def test_a_verdict_the_table_cannot_hold_is_kept_as_it_is(kind, verdict):
    batch = sort(frame(kind, verdict))
    assert (batch.verdicts, batch.learning.feedback, batch.learning.labels) == (0, [], [])
    assert [(row[2], row[4]) for row in batch.learning.unread] == [
        (kind, msgspec.msgpack.encode(verdict)),
    ]


def test_what_cannot_be_read_is_kept_as_it_is():
    batch = sort(frame(99, b"future"), frame(Kind.LABEL, b"\xc1"), frame(Kind.PART, ["odd"]))
    assert [(row[2], row[4]) for row in batch.learning.unread] == [
        (99, b"future"),
        (Kind.LABEL, b"\xc1"),
        (Kind.PART, msgspec.msgpack.encode(["odd"])),
    ]


def test_a_refused_item_is_kept_as_its_payload():
    record, part = old_record(), BodyPart("imported", 0, b"x")
    batch = sort(frame(Kind.PART, part), frame(Kind.REQUEST, record))
    batch.keep_refused(batch.days[DAY], 1)
    batch.keep_refused(batch.days[DAY], 0)
    assert [(row[2], row[4]) for row in batch.learning.unread] == [
        (Kind.REQUEST, msgspec.msgpack.encode(record)),
        (Kind.PART, msgspec.msgpack.encode(part)),
    ]
