import pytest

from telemetry import day_store
from telemetry.day_store import DayBatch, DayStore, Gap, SegmentPlace
from telemetry.record import BodyPart
from telemetry.store import open_for_reading
from tests.support.records import make_record

PLACE = SegmentPlace("a.seg", "here", 0, "writer", 100)


@pytest.fixture
def store(tmp_path):
    store = DayStore(tmp_path / "capture-2026-01-01.db")
    yield store
    store.close()


def batch(*items, gaps=()):
    return DayBatch(list(items), list(range(len(items))), list(gaps))


def rows(store, sql):
    connection = open_for_reading(store.path)
    found = [tuple(row) for row in connection.execute(sql)]
    connection.close()
    return found


def test_rows_and_progress_are_committed_together(store):
    records = [make_record(), make_record()]
    result = store.write(batch(*records, gaps=[Gap(5, 0, "disk", 3)]), PLACE, 9)
    assert result.new == records
    assert store.bytes_done("a.seg") == 100
    assert rows(store, "select segment, node, bytes_done, n_rows, ts_us from folds") == [
        ("a.seg", "here", 100, 2, 9)
    ]
    assert rows(store, "select * from gaps") == [(5, 0, "disk", 3)]
    assert rows(store, "select count(*) from decisions") == [(4,)]


def test_progress_is_known_again_after_opening(store):
    store.write(batch(make_record()), PLACE, 9)
    store.close()
    again = DayStore(store.path)
    assert again.bytes_done("a.seg") == 100
    assert again.bytes_done("b.seg") == 0
    again.write(batch(make_record()), PLACE, 9)
    assert rows(again, "select seq, req_body, resp_body from requests") == [(1, 1, 2), (2, 3, 4)]
    again.close()


def test_known_records_are_left_out_and_counted(store):
    one, two = make_record(), make_record()
    store.write(batch(one), PLACE, 9)
    result = store.write(batch(one, two, two), PLACE, 9)
    assert result.new == [two]
    assert result.duplicates == 2
    assert rows(store, "select n_rows from folds") == [(2,)]


def test_what_sqlite_cannot_hold_is_handed_back_and_counted(store):
    good, bad = make_record(), make_record(seed=2**63)
    result = store.write(batch(good, bad), PLACE, 9)
    assert result.new == [good]
    assert [index for index, _ in result.refused] == [1]
    assert rows(store, "select reason, n from gaps") == [("unwritable", 1)]
    assert rows(store, "select count(*) from bodies") == [(2,)]


def test_a_record_that_cannot_be_taken_apart_holds_up_nobody(store, monkeypatch):
    good, bad = make_record(), make_record(id=make_record().id)
    whole = day_store.request_row

    def fails_for_one(record, **rest):
        if record.id == bad.id:
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "a defect of ours")
        return whole(record, **rest)

    monkeypatch.setattr(day_store, "request_row", fails_for_one)
    result = store.write(batch(bad, good), PLACE, 9)
    assert result.new == [good]
    assert [index for index, _ in result.refused] == [0]


def test_a_failed_batch_leaves_nothing(store, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "_note_progress", fail)
    with pytest.raises(KeyboardInterrupt):
        store.write(batch(make_record()), PLACE, 9)
    monkeypatch.undo()
    assert rows(store, "select count(*) from bodies") == [(0,)]
    store.write(batch(make_record()), PLACE, 9)
    assert rows(store, "select seq from requests") == [(1,)]


def test_an_answer_too_large_for_sqlite_keeps_its_hash_and_is_counted(store, monkeypatch):
    monkeypatch.setattr("telemetry.day_store.BODY_BYTES_MAX", 100)
    record = make_record(response=None, response_parts=2)
    parts = [BodyPart(record.id, n, bytes(60)) for n in range(2)]
    store.write(batch(*parts, record), PLACE, 9)
    assert rows(
        store, "select resp_body, response_bytes, length(response_sha256) from requests"
    ) == [(None, 120, 32)]
    assert rows(store, "select reason, n from gaps") == [("body too large", 1)]
    assert not store.has_parts()


def test_parts_wait_for_their_record_and_their_writer_is_known(store):
    store.write(batch(BodyPart("x", 0, b"1")), PLACE, 9)
    assert store.has_parts()
    assert store.part_writers() == {"writer"}
    assert store.drop_orphans(["someone else"], 9) == 0
    assert store.drop_orphans(["writer"], 9) == 1
    assert not store.has_parts()


def test_a_late_copy_of_a_part_is_no_orphan(store):
    record = make_record(response=None, response_parts=1)
    store.write(batch(BodyPart(record.id, 0, b"1"), record), PLACE, 9)
    store.write(batch(BodyPart(record.id, 0, b"1")), PLACE, 9)
    assert store.drop_orphans(["writer"], 9) == 0
    assert not store.has_parts()


def test_notices_that_its_file_was_removed(store):
    assert not store.is_gone
    store.path.unlink()
    assert store.is_gone
    assert "capture-2026-01-01.db" in repr(store)
