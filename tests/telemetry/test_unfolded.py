"""What is in the journal and not in the store yet."""

import asyncio

from telemetry.fold import Folder
from telemetry.ids import new_id
from telemetry.journal import Journal
from telemetry.record import FeedbackRecord
from telemetry.unfolded import unfolded_records
from tests.support.records import keep, make_record, write_journal


def test_finds_by_a_piece_what_is_not_folded(tmp_path):
    one, two = make_record(), make_record(provider_response_id="resp_1")
    write_journal(tmp_path, [one, two])
    write_journal(tmp_path, [make_record()], worker=1)
    assert list(unfolded_records(tmp_path, one.id.encode())) == [one]
    assert list(unfolded_records(tmp_path, b"resp_1")) == [two]
    assert list(unfolded_records(tmp_path, b"resp_2")) == []


def test_what_is_folded_is_not_found_again(tmp_path):
    record = make_record()
    keep(tmp_path, [record])
    assert list(unfolded_records(tmp_path, record.id.encode())) == []


def test_goes_on_where_the_fold_stands_in_a_segment_that_is_still_written(tmp_path):
    before, behind = make_record(), make_record()

    async def run():
        journal = Journal(tmp_path, node="n", worker=0, loop=asyncio.get_running_loop())
        journal.append(before, lambda is_kept: None)
        journal.flush()
        folder = Folder(tmp_path)
        assert folder.fold_all().records == 1
        folder.close()
        journal.append(behind, lambda is_kept: None)
        journal.flush()
        found = [list(unfolded_records(tmp_path, one.id.encode())) for one in (before, behind)]
        journal.close()
        return found

    assert asyncio.run(run()) == [[], [behind]]


def test_other_frames_that_name_a_request_are_not_it(tmp_path):
    identifier = new_id()

    async def run():
        journal = Journal(tmp_path, node="n", worker=0, loop=asyncio.get_running_loop())
        journal.append_feedback(FeedbackRecord(new_id(), identifier, 1, "thumbs"))
        journal.close()

    asyncio.run(run())
    assert list(unfolded_records(tmp_path, identifier.encode())) == []


def test_reads_no_more_than_its_bound_newest_first(tmp_path, monkeypatch):
    old, new = make_record(), make_record()
    write_journal(tmp_path, [old])
    write_journal(tmp_path, [new])
    sizes = [path.stat().st_size for path in sorted((tmp_path / "journal").glob("*.seg"))]
    monkeypatch.setattr("telemetry.unfolded.SEARCH_BYTES_MAX", sizes[1] + sizes[0] // 2)
    assert list(unfolded_records(tmp_path, new.id.encode())) == [new]
    assert list(unfolded_records(tmp_path, old.id.encode())) == []


def test_a_damaged_place_hides_only_itself(tmp_path):
    records = [make_record() for _ in range(3)]
    write_journal(tmp_path, records)
    (path,) = (tmp_path / "journal").glob("*.seg")
    data = bytearray(path.read_bytes())
    data[data.index(records[1].id.encode())] ^= 1
    path.write_bytes(data)
    found = [bool(list(unfolded_records(tmp_path, one.id.encode()))) for one in records]
    assert found == [True, False, True]


def test_no_journal_is_no_error(tmp_path):
    assert list(unfolded_records(tmp_path, b"x")) == []
