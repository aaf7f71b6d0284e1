import asyncio
import os
import shutil
import sqlite3
import threading
import time
from hashlib import sha256
from typing import ClassVar

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from telemetry.errors import Locked
from telemetry.fold import Folder
from telemetry.frame_writer import FrameWriter
from telemetry.frames import Kind, keys_of
from telemetry.ids import IdSource, new_id
from telemetry.queries import capture, captures
from telemetry.record import BodyPart, EventRecord, FeedbackRecord, LabelRecord
from telemetry.segments import list_segments
from telemetry.store import DAMAGED_SUFFIX, day_files, open_for_reading
from telemetry.verify import verify
from tests.support.records import digest, fold, keep, make_attempt, make_record, write_journal


def rows(directory, sql):
    return [
        tuple(row)
        for _, path in day_files(directory)
        for row in open_for_reading(path).execute(sql)
    ]


def add_frames(path, frames):
    """Append frames to a sealed segment, as a writer of another version would have."""
    writer = FrameWriter(keys_of(path.name))
    writer.sequence = 1
    with path.open("ab") as file:
        for kind, payload in frames:
            file.write(writer.head(kind, payload) + payload)


class Killed(BaseException):
    """Stands in for kill -9 at one point of the fold."""


def test_every_record_is_in_the_store_once_with_equal_hashes(tmp_path):
    records = [make_record(request=os.urandom(200), response=os.urandom(300)) for _ in range(50)]
    report = keep(tmp_path, records)
    assert report.records == 50
    found = {one["id"]: one for one in captures(tmp_path)}
    assert len(found) == 50
    for record in records:
        assert found[record.id]["request_sha256"] == digest(record.request)
        assert found[record.id]["response_sha256"] == digest(record.response)
    assert verify(tmp_path, deep=True).problems == []


def test_a_live_segment_is_folded_as_it_grows_and_stays(tmp_path):

    from tests.telemetry.test_journal import open_journal

    async def grow():
        journal = open_journal(tmp_path)
        folder = Folder(tmp_path)
        for count in (3, 4):
            for _ in range(count):
                journal.append(make_record(), lambda is_kept: None)
            await asyncio.sleep(0.01)
            report = folder.fold_once()
            assert (report.records, report.segments_removed) == (count, 0)
        assert len(list_segments(tmp_path / "journal")) == 1
        journal.close()
        report = folder.fold_once()
        assert (report.records, report.segments_removed) == (0, 1)
        folder.close()

    asyncio.run(grow())
    assert list_segments(tmp_path / "journal") == []


def test_folding_the_same_segment_again_changes_nothing(tmp_path):
    write_journal(tmp_path, [make_record() for _ in range(20)])
    shutil.copytree(tmp_path / "journal", tmp_path / "copy")
    fold(tmp_path)
    before = rows(tmp_path, "select * from requests")
    for path in (tmp_path / "copy").iterdir():
        shutil.copy(path, tmp_path / "journal" / path.name)
    report = fold(tmp_path)
    assert report.records == 0
    assert rows(tmp_path, "select * from requests") == before
    assert verify(tmp_path, deep=True).problems == []


def test_a_record_written_to_two_segments_is_one_record(tmp_path):
    twice = make_record()
    write_journal(tmp_path, [make_record(), twice])
    write_journal(tmp_path, [make_record(), twice, make_record(), twice])
    report = fold(tmp_path)
    assert (report.records, report.duplicates) == (4, 2)
    assert len(list(captures(tmp_path))) == 4
    assert verify(tmp_path, deep=True).problems == []


class Interrupted(sqlite3.Connection):
    """Dies before the n-th statement of all."""

    left = 0
    opened: ClassVar = []

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.opened.append(self)

    def execute(self, sql, values=(), /):
        type(self).left -= 1
        if type(self).left == 0:
            raise Killed(sql)
        return super().execute(sql, values)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 120))
def test_a_fold_killed_at_any_statement_and_run_again_loses_and_doubles_nothing(
    tmp_path_factory, statement
):
    directory = tmp_path_factory.mktemp("killed")
    records = [make_record() for _ in range(30)]
    records[7] = make_record(id=_id_of_day(1_700_000_000))
    parts = [BodyPart(records[9].id, 0, b"first"), BodyPart(records[9].id, 1, b"second")]
    records[9] = make_record(id=records[9].id, response=None, response_parts=2)
    write_journal(directory, [*records[:9], *parts, *records[9:]])
    with pytest.MonkeyPatch.context() as patch:
        connect = sqlite3.connect
        patch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **k, factory=Interrupted))
        Interrupted.left = statement
        folder = None
        try:
            folder = Folder(directory, read_bytes=4000)
            folder.fold_all()
        except Killed:
            pass
        Interrupted.left = 0
        while Interrupted.opened:  # what the kernel does with a dead process
            Interrupted.opened.pop().close()
        if folder is not None:
            folder._lock.release()
    fold(directory)
    found = [one["id"] for one in captures(directory)]
    assert sorted(found) == sorted(record.id for record in records)
    joined = capture(directory, records[9].id)
    assert joined["response"] == "firstsecond"
    assert verify(directory, deep=True).problems == []
    shutil.rmtree(directory)


def _id_of_day(moment_s):
    return IdSource(lambda: moment_s * 1_000_000_000)()


def test_a_record_goes_to_the_day_of_its_id(tmp_path):
    old, new = make_record(id=_id_of_day(1_700_000_000)), make_record()
    keep(tmp_path, [old, new])
    days = [day for day, _ in day_files(tmp_path)]
    assert days[0] == "2023-11-14"
    assert len(days) == 2
    assert capture(tmp_path, old.id)["id"] == old.id


def test_an_id_that_tells_no_time_goes_by_its_moment_and_is_found(tmp_path):
    keep(tmp_path, [make_record(id="imported-1", ts_us=1_700_000_000_000_000)])
    assert [day for day, _ in day_files(tmp_path)] == ["2023-11-14"]
    assert capture(tmp_path, "imported-1")["id"] == "imported-1"


def test_the_parts_of_a_long_answer_become_one_body(tmp_path):
    identifier = new_id()
    pieces = [os.urandom(70_000) for _ in range(5)]
    parts = [BodyPart(identifier, index, piece) for index, piece in enumerate(pieces)]
    record = make_record(id=identifier, response=b"the tail", response_parts=5)
    keep(tmp_path, [*parts, record], segment_bytes_max=100_000)
    whole = b"".join(pieces) + b"the tail"
    [found] = captures(tmp_path)
    assert found["response_sha256"] == digest(whole)
    assert rows(tmp_path, "select max(length(data)) from bodies") == [(len(whole),)]
    assert rows(tmp_path, "select count(*) from parts") == [(0,)]
    assert verify(tmp_path, deep=True).problems == []


def test_a_missing_part_is_counted_and_leaves_the_record_without_its_body(tmp_path):
    identifier = new_id()
    record = make_record(id=identifier, response=None, response_parts=2)
    keep(tmp_path, [BodyPart(identifier, 0, b"only the first"), record])
    assert capture(tmp_path, identifier)["response"] is None
    assert any("part missing" in problem for problem in verify(tmp_path).problems)


def test_parts_of_a_dead_writer_are_counted_in_gaps_once(tmp_path):
    write_journal(tmp_path, [BodyPart(new_id(), 0, b"x"), BodyPart(new_id(), 0, b"y")])
    assert fold(tmp_path).orphans == 0  # perhaps its writer only waits for room on the disk
    assert fold(tmp_path, orphan_wait_s=0.0).orphans == 2
    assert fold(tmp_path, orphan_wait_s=0.0).orphans == 0
    assert rows(tmp_path, "select reason, n from gaps") == [("orphan parts", 2)]
    report = verify(tmp_path)
    assert report.is_whole
    assert any("orphan" in note for note in report.notes)


def test_damage_costs_one_record_is_counted_and_the_segment_set_aside(tmp_path):
    records = [make_record() for _ in range(10)]
    write_journal(tmp_path, records)
    [path] = list_segments(tmp_path / "journal")
    data = bytearray(path.read_bytes())
    data[data.index(records[4].id.encode())] ^= 1
    path.write_bytes(data)
    report = fold(tmp_path)
    assert report.records == 9
    [line] = report.damages
    assert "corrupt" in line
    assert "1 lost" in line
    assert rows(tmp_path, "select reason, n from gaps") == [("corrupt", 1)]
    assert [p.suffix for p in (tmp_path / "journal").iterdir()] == [DAMAGED_SUFFIX]
    ids = {one["id"] for one in captures(tmp_path)}
    assert ids == {record.id for record in records} - {records[4].id}


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_flip_or_a_cut_anywhere_leaves_all_other_records_readable(tmp_path_factory, draw):
    directory = tmp_path_factory.mktemp("flipped")
    records = [make_record(request=b"{}", response=b"{}") for _ in range(8)]
    write_journal(directory, records)
    [path] = list_segments(directory / "journal")
    data = bytearray(path.read_bytes())
    at = draw.draw(st.integers(0, len(data) - 1))
    if draw.draw(st.booleans()):
        data[at] ^= 1 << draw.draw(st.integers(0, 7))
        lost_at_most = 1
    else:
        del data[at:]
        lost_at_most = 8
    path.write_bytes(data)
    report = fold(directory)
    assert report.records >= 8 - lost_at_most
    assert report.damages or lost_at_most == 8
    known = {record.id: digest(record.request) for record in records}
    for one in captures(directory):
        assert one["request_sha256"] == known[one["id"]]
    shutil.rmtree(directory)


def test_a_torn_tail_is_reported_and_no_loss(tmp_path):
    write_journal(tmp_path, [make_record() for _ in range(3)])
    [path] = list_segments(tmp_path / "journal")
    path.write_bytes(path.read_bytes()[:-10])
    assert any("torn tail" in note for note in verify(tmp_path).notes)
    report = fold(tmp_path)
    assert report.records == 2
    assert "torn tail" in report.damages[0]
    assert rows(tmp_path, "select * from gaps") == []
    assert report.segments_removed == 1
    assert verify(tmp_path).is_whole


def test_a_frame_of_an_unknown_kind_or_shape_is_kept_and_counted(tmp_path):
    write_journal(tmp_path, [])
    [path] = list_segments(tmp_path / "journal")
    add_frames(path, [(77, b"from the future"), (Kind.REQUEST, msgspec.msgpack.encode(["odd"]))])
    report = fold(tmp_path)
    assert report.unread == 2
    kept = open_for_reading(tmp_path / "learning.db").execute(
        "select kind, payload from unread_frames order by offset"
    )
    assert [tuple(row) for row in kept] == [
        (77, b"from the future"),
        (1, msgspec.msgpack.encode(["odd"])),
    ]


def test_a_record_with_fields_of_a_later_version_is_read(tmp_path):
    write_journal(tmp_path, [])
    [path] = list_segments(tmp_path / "journal")
    record = make_record()
    longer = [*msgspec.msgpack.decode(msgspec.msgpack.encode(record)), "a later field"]
    add_frames(path, [(Kind.REQUEST, msgspec.msgpack.encode(longer))])
    assert fold(tmp_path).records == 1
    assert capture(tmp_path, record.id)["route"] == "extract"


def test_a_record_the_database_cannot_hold_stops_nobody(tmp_path):
    records = [make_record() for _ in range(5)]
    records[2] = make_record(seed=2**64 - 1)
    report = keep(tmp_path, records)
    assert (report.records, len(report.damages)) == (4, 1)
    [payload] = open_for_reading(tmp_path / "learning.db").execute(
        "select payload from unread_frames"
    )
    assert records[2].id.encode() in payload[0]
    assert any("unwritable" in problem for problem in verify(tmp_path).problems)


def test_verdicts_and_events_have_their_tables(tmp_path):
    write_journal(tmp_path, [])
    [path] = list_segments(tmp_path / "journal")
    feedback = FeedbackRecord("f1", "r1", 5, "thumb", 1.0, tags={"by": "user"})
    label = LabelRecord("l1", "r1", b"hash", "teacher", 6, score=0.5)
    event = EventRecord(1_700_000_000_000_000, "gap", 3, 7, "disk")
    frames = [(Kind.FEEDBACK, feedback), (Kind.LABEL, label), (Kind.EVENT, event)]
    add_frames(path, [(kind, msgspec.msgpack.encode(value)) for kind, value in frames])
    assert fold(tmp_path).verdicts == 2
    store = open_for_reading(tmp_path / "learning.db")
    assert tuple(store.execute("select id, num, tags from feedback").fetchone()) == (
        "f1", 1.0, '{"by":"user"}',
    )  # fmt: skip
    assert tuple(store.execute("select id, score from labels").fetchone()) == ("l1", 0.5)
    assert tuple(store.execute("select name, number from events").fetchone()) == ("gap", 7)
    assert rows(tmp_path, "select worker, reason, n from gaps") == [(3, "disk", 7)]


def test_two_folders_cannot_run_at_once(tmp_path):
    folder = Folder(tmp_path)
    with pytest.raises(Locked) as caught:
        Folder(tmp_path)
    assert caught.value.holder == os.getpid()
    threading.Timer(0.1, folder.close).start()
    Folder(tmp_path, lock_timeout_s=5.0).close()


def test_the_observer_sees_each_new_record_once_and_after_it_is_safe(tmp_path):
    seen = []
    records = [make_record() for _ in range(5)]
    write_journal(tmp_path, [*records, records[0]])

    def observe(record):
        assert capture(tmp_path, record.id) is not None
        seen.append(record.id)

    fold(tmp_path, observer=observe)
    assert seen == [record.id for record in records]


def test_what_was_learned_outlives_the_folder(tmp_path):
    folder = Folder(tmp_path)
    assert folder.load_learned() is None
    folder.save_learned(b"first")
    folder.save_learned(b"second")
    folder.close()
    folder = Folder(tmp_path)
    assert folder.load_learned() == b"second"
    folder.close()


def test_a_pass_is_bounded_and_says_that_there_is_more(tmp_path):
    write_journal(tmp_path, [make_record() for _ in range(200)])
    folder = Folder(tmp_path, read_bytes=1000)
    report = folder.fold_once()
    assert report.has_more
    assert 0 < report.records < 200
    assert folder.fold_all().records == 200 - report.records
    folder.close()


def test_a_day_file_removed_while_open_is_made_anew(tmp_path):
    folder = Folder(tmp_path)
    write_journal(tmp_path, [make_record()])
    folder.fold_all()
    for _, path in list(day_files(tmp_path)):
        path.unlink()
    record = make_record()
    write_journal(tmp_path, [record])
    folder.fold_all()
    folder.close()
    assert [one["id"] for one in captures(tmp_path)] == [record.id]


def test_a_body_of_an_attempt_that_did_not_win_is_kept(tmp_path):
    lost = make_attempt("gpt-4", kind="escalation", won=False, body=b"other answer")
    keep(tmp_path, [make_record(attempts=(make_attempt(), lost))])
    found = rows(
        tmp_path,
        "select a.kind, b.data from attempts a left join bodies b on b.id = a.body order by n",
    )
    assert found == [("primary", None), ("escalation", b"other answer")]


def test_hashes_of_bodies_that_were_not_kept_are(tmp_path):
    keep(tmp_path, [make_record(capture="metadata", request=b"question", response=b"answer")])
    [found] = captures(tmp_path, bodies=True)
    assert (found["request"], found["response"]) == (None, None)
    assert found["request_sha256"] == sha256(b"question").hexdigest()
    assert found["response_sha256"] == sha256(b"answer").hexdigest()


def test_capture_off_stores_the_bill_alone(tmp_path):
    record = make_record(capture="off")
    keep(tmp_path, [record])
    [row] = [
        dict(row)
        for _, path in day_files(tmp_path)
        for row in open_for_reading(path).execute("select * from requests")
    ]
    kept = {name for name, value in row.items() if value is not None}
    assert kept == {
        "seq", "id", "ts_us", "api", "status", "complete", "capture", "source", "route", "backend",
        "prompt_tok", "completion_tok", "tok_estimated", "cost_usd", "simulated", "row_crc",
    }  # fmt: skip
    assert rows(tmp_path, "select count(*) from decisions") == [(0,)]
    assert verify(tmp_path, deep=True).problems == []


def test_unnamed_leavings_of_dead_writers_are_removed_when_old(tmp_path):
    journal = tmp_path / "journal"
    journal.mkdir()
    for name, age_s in (("old.new", 1000), ("fresh.new", 0)):
        (journal / name).write_bytes(b"")
        os.utime(journal / name, (time.time() - age_s,) * 2)
    fold(tmp_path)
    assert [path.name for path in journal.iterdir()] == ["fresh.new"]


def test_a_day_file_that_is_no_database_is_set_aside_and_the_day_goes_on(tmp_path):
    keep(tmp_path, [make_record()])
    [(_, path)] = day_files(tmp_path)
    path.write_bytes(b"not a database" * 1000)
    record = make_record()
    write_journal(tmp_path, [record])
    report = fold(tmp_path)
    assert "set aside" in report.damages[0]
    assert [one["id"] for one in captures(tmp_path)] == [record.id]
    assert path.with_name(path.name + DAMAGED_SUFFIX).exists()
    assert any("set aside" in problem for problem in verify(tmp_path).problems)
