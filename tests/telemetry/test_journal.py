import asyncio
import json
import os
import time

import msgspec
import pytest
import uvloop

from telemetry.fold import Folder
from telemetry.frames import Frame, Kind
from telemetry.ids import new_id
from telemetry.journal import QUEUE_BYTES_MAX, Journal
from telemetry.queries import captures
from telemetry.record import BodyPart, EventRecord, FeedbackRecord, RequestRecord
from telemetry.segments import SegmentReader, list_segments
from telemetry.verify import verify
from tests.support.records import fold, make_record
from tests.support.small_disk import fill, small_disk


class Ledger:
    """What each record's release said, in order."""

    def __init__(self):
        self.released = []

    def take(self, record):
        return lambda is_kept: self.released.append((record.id, is_kept))

    @property
    def answered(self):
        return {identifier for identifier, is_kept in self.released if is_kept}


def open_journal(directory, **options):
    loop = asyncio.get_running_loop()
    return Journal(directory, node="here", worker=0, loop=loop, **options)


def frames_in(directory):
    found = []
    for path in list_segments(directory / "journal"):
        with SegmentReader(path) as reader:
            scan = reader.read(0, 0, size=reader.size(), is_sealed=True)
            found += [item for item in scan.found if isinstance(item, Frame)]
    return [frame for frame in found if frame.kind != Kind.HEADER]


def kept_ids(directory):
    kinds = [frame for frame in frames_in(directory) if frame.kind == Kind.REQUEST]
    return [msgspec.msgpack.decode(f.payload, type=RequestRecord).id for f in kinds]


async def until(condition, timeout_s=5.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.002)


async def test_releases_in_order_after_the_write_and_never_within_append(tmp_path):
    journal, ledger = open_journal(tmp_path), Ledger()
    records = [make_record() for _ in range(20)]
    for record in records:
        journal.append(record, ledger.take(record))
    assert ledger.released == []
    await until(lambda: len(ledger.released) == 20)
    assert ledger.released == [(record.id, True) for record in records]
    assert kept_ids(tmp_path) == [record.id for record in records]
    journal.close()


async def test_one_turn_of_the_loop_is_one_write(tmp_path, monkeypatch):
    writes = []
    real = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, buffers: writes.append(fd) or real(fd, buffers))
    journal, ledger = open_journal(tmp_path), Ledger()
    for _ in range(50):
        record = make_record()
        journal.append(record, ledger.take(record))
    await until(lambda: len(ledger.released) == 50)
    assert len(writes) == 1
    journal.close()


async def test_a_turn_with_more_frames_than_one_call_takes_is_written_whole(tmp_path):
    journal, ledger = open_journal(tmp_path), Ledger()
    records = [make_record(request=b"{}", response=b"{}") for _ in range(1500)]
    for record in records:
        journal.append(record, ledger.take(record))
    journal.close()
    assert kept_ids(tmp_path) == [record.id for record in records]
    assert len(ledger.answered) == 1500


async def test_a_new_segment_begins_at_every_start_and_at_the_limit(tmp_path):
    journal, ledger = open_journal(tmp_path, segment_bytes_max=3000), Ledger()
    for _ in range(30):
        record = make_record()
        journal.append(record, ledger.take(record))
        await asyncio.sleep(0)
    assert journal.counters.segments == len(list_segments(tmp_path / "journal")) > 2
    journal.close()
    before = len(list_segments(tmp_path / "journal"))
    open_journal(tmp_path).close()
    assert len(list_segments(tmp_path / "journal")) == before + 1


async def test_power_waits_for_the_disk_and_confirms_in_groups(tmp_path, monkeypatch):
    syncs = []
    real = os.fdatasync

    def slow(descriptor):
        syncs.append(descriptor)
        time.sleep(0.05)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow)
    journal, ledger = open_journal(tmp_path, durability="power"), Ledger()
    for _ in range(10):
        record = make_record()
        journal.append(record, ledger.take(record))
        await asyncio.sleep(0.001)
    assert ledger.released == []
    await until(lambda: len(ledger.answered) == 10)
    assert len(syncs) <= 3
    journal.close()


@pytest.mark.timed
async def test_process_never_waits_for_a_slow_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: time.sleep(0.3))
    journal, ledger = open_journal(tmp_path), Ledger()
    started = time.monotonic()
    for _ in range(20):
        record = make_record()
        journal.append(record, ledger.take(record))
        await asyncio.sleep(0.01)
    await until(lambda: len(ledger.answered) == 20)
    assert time.monotonic() - started < 0.3 * 20 / 2
    journal.close()


async def test_process_syncs_behind_the_answers(tmp_path, monkeypatch):
    syncs = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (syncs.append(time.monotonic()), real(fd)))
    journal, ledger = open_journal(tmp_path), Ledger()
    record = make_record()
    written = time.monotonic()
    journal.append(record, ledger.take(record))
    await until(lambda: syncs)
    assert 0.05 < syncs[0] - written < 1.0
    journal.close()


@pytest.mark.timed
async def test_a_full_disk_answers_anyway_counts_exactly_and_resumes(tmp_path):
    with small_disk(tmp_path / "disk", 192) as disk:
        journal, ledger = open_journal(disk), Ledger()
        ballast = None
        for number in range(400):
            record = make_record(request=os.urandom(300 + number % 7 * 100))
            journal.append(record, ledger.take(record))
            await asyncio.sleep(0 if number % 16 else 0.001)
            if number == 200:
                ballast = fill(disk)
        await until(lambda: len(ledger.released) == 400)
        assert journal.counters.dropped > 0
        assert "No space left" in (journal.counters.last_error or "")
        ballast.unlink()
        for path in list_segments(disk / "journal")[:-1]:
            path.unlink()
        resumed = time.monotonic()
        before = journal.counters.written
        while journal.counters.written == before:
            record = make_record(request=b"{}", response=b"{}")
            journal.append(record, ledger.take(record))
            await asyncio.sleep(0.01)
        assert time.monotonic() - resumed < 1.0
        journal.close()
        kept = set(kept_ids(disk))
        assert kept <= ledger.answered
        assert journal.counters.dropped == len(ledger.answered - kept)
        assert journal.counters.written == len(kept)


async def test_the_gap_of_a_full_disk_is_in_the_store(tmp_path):
    with small_disk(tmp_path / "disk", 2048) as disk:
        journal, ledger = open_journal(disk), Ledger()
        ballast = fill(disk)
        for _ in range(30):
            record = make_record()
            journal.append(record, ledger.take(record))
            await asyncio.sleep(0)
        await until(lambda: len(ledger.released) == 30)
        ballast.unlink()
        await asyncio.sleep(0.15)
        record = make_record()
        journal.append(record, ledger.take(record))
        await until(lambda: len(ledger.released) == 31)
        dropped = journal.counters.dropped
        journal.close()
        fold(disk)
        assert dropped == 31 - len(list(captures(disk)))
        assert any(f"{dropped} missing (disk)" in line for line in verify(disk).problems)


async def test_fail_closed_refuses_and_says_so_beforehand(tmp_path):
    with small_disk(tmp_path / "disk", 64) as disk:
        journal, ledger = open_journal(disk, on_error="fail_closed"), Ledger()
        fill(disk)
        for _ in range(5):
            record = make_record(request=bytes(8000))
            journal.append(record, ledger.take(record))
        await until(lambda: len(ledger.released) == 5)
        kept = set(kept_ids(disk))
        assert ledger.answered == kept
        assert journal.counters.refused == 5 - len(kept) > 0
        assert journal.counters.dropped == 0
        assert journal.is_refusing
        await asyncio.sleep(0.15)
        assert not journal.is_refusing  # one request is let through to find out
        journal.close()


async def test_a_failed_sync_in_power_leaves_the_segment_and_writes_again(tmp_path, monkeypatch):
    real = os.fdatasync
    failures = iter([True])

    def once(descriptor):
        if next(failures, False):
            raise OSError(5, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", once)
    journal, ledger = open_journal(tmp_path, durability="power"), Ledger()
    records = [make_record() for _ in range(8)]
    for record in records:
        journal.append(record, ledger.take(record))
    await until(lambda: len(ledger.released) == 8)
    assert ledger.answered == {record.id for record in records}
    assert journal.counters.sync_errors == 1
    assert len(list_segments(tmp_path / "journal")) == 2
    journal.close()
    assert sorted(kept_ids(tmp_path)) == sorted(record.id for record in records)


async def test_a_disk_that_never_syncs_keeps_no_promise_in_power(tmp_path, monkeypatch):
    def never(descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", never)
    journal, ledger = open_journal(tmp_path, durability="power", on_error="fail_closed"), Ledger()
    records = [make_record() for _ in range(4)]
    for record in records:
        journal.append(record, ledger.take(record))
    await until(lambda: len(ledger.released) == 4)
    assert ledger.answered == set()
    assert journal.counters.refused == 4
    assert "sync" in (journal.counters.last_error or "")
    journal.close()
    assert kept_ids(tmp_path) == []


async def test_a_failed_sync_in_process_leaves_the_segment_and_goes_on(tmp_path, monkeypatch):
    real = os.fdatasync
    failures = iter([True])

    def once(descriptor):
        if next(failures, False):
            raise OSError(5, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", once)
    journal, ledger = open_journal(tmp_path), Ledger()
    first = make_record()
    journal.append(first, ledger.take(first))
    await until(lambda: journal.counters.sync_errors == 1)
    second = make_record()
    journal.append(second, ledger.take(second))
    journal.close()
    assert kept_ids(tmp_path) == [first.id, second.id]
    assert len(list_segments(tmp_path / "journal")) == 2


async def test_a_removed_segment_is_noticed_and_left(tmp_path):
    journal, ledger = open_journal(tmp_path), Ledger()
    for path in list_segments(tmp_path / "journal"):
        path.unlink()
    record = make_record()
    journal.append(record, ledger.take(record))
    await until(lambda: journal.counters.sync_errors == 1)
    record = make_record()
    journal.append(record, ledger.take(record))
    journal.close()
    assert kept_ids(tmp_path) == [record.id]


async def test_a_record_whose_answer_lost_a_part_is_not_kept(tmp_path):
    with small_disk(tmp_path / "disk", 256) as disk:
        journal, ledger = open_journal(disk), Ledger()
        ballast = fill(disk)
        identifier = new_id()
        journal.append_part(BodyPart(identifier, 0, bytes(8000)))
        await asyncio.sleep(0.01)
        assert journal.counters.parts_dropped == 1
        ballast.unlink()
        await asyncio.sleep(0.15)
        record = make_record(id=identifier, response=None, response_parts=1)
        journal.append(record, ledger.take(record))
        await until(lambda: len(ledger.released) == 1)
        assert ledger.released == [(identifier, True)]
        assert journal.counters.dropped == 1
        journal.close()
        assert kept_ids(disk) == []


async def test_the_queue_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: time.sleep(0.2))
    journal, ledger = open_journal(tmp_path, durability="power"), Ledger()
    body = bytes(QUEUE_BYTES_MAX // 4)
    for _ in range(6):
        record = make_record(request=body, response=b"")
        journal.append(record, ledger.take(record))
    assert journal.counters.queue_bytes <= QUEUE_BYTES_MAX
    await until(lambda: len(ledger.released) == 6)
    assert journal.counters.dropped == 3
    journal.close()


async def test_large_records_of_one_turn_are_not_counted_together(tmp_path):
    """Each is written before the next one is held against the queue's limit."""
    journal, ledger = open_journal(tmp_path), Ledger()
    for _ in range(3):
        record = make_record(request=bytes(QUEUE_BYTES_MAX * 5 // 8), response=b"")
        journal.append(record, ledger.take(record))
    await until(lambda: len(ledger.released) == 3)
    assert journal.counters.dropped == 0
    journal.close()


async def test_one_failing_release_keeps_nobody_from_theirs(tmp_path):
    loop = asyncio.get_running_loop()
    seen = []
    loop.set_exception_handler(lambda _, context: seen.append(context["exception"]))
    journal, ledger = open_journal(tmp_path), Ledger()

    def broken(is_kept):
        raise RuntimeError("broken")

    journal.append(make_record(), broken)
    record = make_record()
    journal.append(record, ledger.take(record))
    await until(lambda: ledger.released)
    assert [str(error) for error in seen] == ["broken"]
    journal.close()


async def test_text_that_cannot_be_written_is_counted_not_raised(tmp_path, capsys):
    journal, ledger = open_journal(tmp_path), Ledger()
    record = make_record(model_asked="\ud800")
    journal.append(record, ledger.take(record))
    await until(lambda: ledger.released)
    assert journal.counters.dropped == 1
    journal.close()
    logged = json.loads(capsys.readouterr().err)
    assert (logged["event"], logged["error"]) == ("record_unencodable", "UnicodeEncodeError")


async def test_the_capture_level_holds_on_disk(tmp_path):
    journal, ledger = open_journal(tmp_path), Ledger()
    for level in ("metadata", "off"):
        record = make_record(capture=level, request=b"the secret words", response=b"more secrets")
        journal.append(record, ledger.take(record))
    journal.close()
    data = b"".join(path.read_bytes() for path in list_segments(tmp_path / "journal"))
    assert b"secret" not in data
    assert len(ledger.answered) == 2


async def test_close_flushes_and_seals(tmp_path):
    for durability in ("process", "power"):
        journal, ledger = open_journal(tmp_path / durability, durability=durability), Ledger()
        record = make_record()
        journal.append(record, ledger.take(record))
        journal.close()
        assert ledger.answered == {record.id}
        folder = Folder(tmp_path / durability)
        assert folder.fold_once().segments_removed == 1
        folder.close()


async def test_feedback_and_events_go_the_same_way(tmp_path):
    journal = open_journal(tmp_path)
    released = []
    journal.append_feedback(FeedbackRecord(new_id(), new_id(), 1, "thumb", 1.0), released.append)
    journal.append_event(EventRecord(1, "started", 0))
    journal.close()
    assert released == [True]
    assert [frame.kind for frame in frames_in(tmp_path)] == [Kind.FEEDBACK, Kind.EVENT]


@pytest.mark.parametrize("on_error", ["fail_open", "fail_closed"])
async def test_feedback_that_is_lost_is_never_called_kept(tmp_path, on_error):
    with small_disk(tmp_path / "disk", 1024) as disk:
        journal, released = open_journal(disk, on_error=on_error), []
        fill(disk)
        for _ in range(2):
            text = FeedbackRecord(new_id(), new_id(), 1, "thumb", text="x" * 8192)
            journal.append_feedback(text, released.append)
            await asyncio.sleep(0)
        await until(lambda: len(released) == 2)
        assert released == [False, False]
        assert journal.counters.events_dropped == 2
        journal.close()


def test_works_on_the_loop_that_serves(tmp_path):
    async def write():
        journal, ledger = open_journal(tmp_path), Ledger()
        record = make_record()
        journal.append(record, ledger.take(record))
        await until(lambda: ledger.released)
        journal.close()

    uvloop.run(write())
    assert len(kept_ids(tmp_path)) == 1


def test_a_directory_that_cannot_be_used_shows_in_the_counters(tmp_path):
    async def start():
        (tmp_path / "journal").write_text("in the way")
        journal = open_journal(tmp_path)
        assert "create segment" in (journal.counters.last_error or "")
        journal.close()

    asyncio.run(start())


@pytest.mark.parametrize("durability", ["process", "power"])
async def test_says_in_what_state_it_is(tmp_path, durability):
    journal = open_journal(tmp_path, durability=durability)
    assert "live=" in repr(journal)
    assert "written=0" in repr(journal)
    journal.close()
