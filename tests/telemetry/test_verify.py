import asyncio
import sqlite3
from contextlib import closing

import pytest

from telemetry.fold import Folder
from telemetry.ids import new_id
from telemetry.journal import Journal
from telemetry.record import FeedbackRecord, LabelRecord
from telemetry.segments import list_segments
from telemetry.store import day_files
from telemetry.verify import verify
from tests.support.records import REQUEST, fold, keep, make_record, write_journal


def change(directory, sql):
    [(_, path)] = day_files(directory)
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.commit()
    connection.close()


def test_what_was_kept_is_whole(tmp_path):
    keep(tmp_path, [make_record() for _ in range(5)])
    write_journal(tmp_path, [make_record() for _ in range(3)])
    seen = []
    report = verify(tmp_path, deep=True, progress=seen.append)
    assert report.is_whole
    assert (report.records, report.bodies, report.frames) == (5, 10, 4)
    assert report.unfolded_bytes > 0
    assert len(seen) == 3


def test_an_empty_or_missing_directory_is_whole(tmp_path):
    assert verify(tmp_path).is_whole
    assert verify(tmp_path / "missing").is_whole


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        (
            "update bodies set data = cast(replace(data, 'auto', 'otto') as blob)",
            "body 1: checksum",
        ),
        ("update requests set cost_usd = 0.0", "row checksum differs"),
        ("update attempts set backend = 'gpt-4'", "row checksum differs"),
        ("delete from decisions where rank = 1", "row checksum differs"),
        ("update requests set request_sha256 = x'00'", "request_sha256 differs"),
    ],
)
def test_deep_finds_what_was_changed(tmp_path, sql, problem):
    keep(tmp_path, [make_record()])
    change(tmp_path, sql)
    assert any(problem in line for line in verify(tmp_path, deep=True).problems)
    assert verify(tmp_path).is_whole


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("delete from requests", "0 requests, 1 folded"),
        ("delete from bodies", "requests row 1 has no bodies"),
        ("delete from requests", "attempts row 1 has no requests"),
    ],
)
def test_rows_that_are_gone_are_missed(tmp_path, sql, problem):
    keep(tmp_path, [make_record()])
    change(tmp_path, sql)
    assert any(problem in line for line in verify(tmp_path).problems)


def test_a_flipped_bit_in_a_stored_body_is_found_and_the_rest_is_readable(tmp_path):
    keep(tmp_path, [make_record(request=REQUEST + bytes([n])) for n in range(20)])
    [(_, path)] = day_files(tmp_path)
    data = bytearray(path.read_bytes())
    at = data.index(REQUEST + bytes([7]))
    data[at + 5] ^= 1
    path.write_bytes(data)
    problems = verify(tmp_path, deep=True).problems
    assert len(problems) == 2  # the body by its checksum, its request by the hash
    assert all("body" in line for line in problems)


def test_a_file_that_is_no_database_is_a_problem_not_an_end(tmp_path):
    keep(tmp_path, [make_record()])
    (tmp_path / "capture-2020-01-01.db").write_bytes(b"not a database" * 1000)
    report = verify(tmp_path)
    assert any("capture-2020-01-01.db" in line for line in report.problems)
    assert report.records == 1


def keep_verdicts(directory):
    async def write():
        journal = Journal(directory, node="n", worker=0, loop=asyncio.get_running_loop())
        journal.append_feedback(
            FeedbackRecord(new_id(), new_id(), 1, "thumb", -0.0, "no", b'{"a":1}', tags={"a": "b"})
        )
        journal.append_label(LabelRecord(new_id(), new_id(), b"h", "teacher", 1, score=0.5))
        journal.close()

    asyncio.run(write())
    fold(directory)


def test_verdicts_are_counted_and_covered(tmp_path):
    keep_verdicts(tmp_path)
    report = verify(tmp_path, deep=True)
    assert (report.is_whole, report.verdicts) == (True, 2)


@pytest.mark.parametrize(
    ("sql", "table"),
    [
        ("update feedback set num = 1.0", "feedback"),
        ("update feedback set caller = 'somebody'", "feedback"),
        ("update feedback set demonstration = x'00'", "feedback"),
        ("update labels set source = 'human'", "labels"),
        ("update labels set score = null", "labels"),
    ],
)
def test_deep_finds_verdicts_that_were_changed(tmp_path, sql, table):
    keep_verdicts(tmp_path)
    with closing(sqlite3.connect(tmp_path / "learning.db")) as connection, connection:
        connection.execute(sql)
    (problem,) = verify(tmp_path, deep=True).problems
    assert f"learning.db: {table} " in problem
    assert "row checksum differs" in problem
    assert verify(tmp_path).is_whole


def test_verdicts_of_others_and_of_an_earlier_version_have_no_checksum(tmp_path):
    keep_verdicts(tmp_path)
    with closing(sqlite3.connect(tmp_path / "learning.db")) as connection, connection:
        connection.execute("update feedback set name = 'x', row_crc = null")
        connection.execute("alter table labels drop column row_crc")
    assert verify(tmp_path, deep=True).is_whole


def test_damage_in_a_segment_is_found_before_it_is_folded(tmp_path):
    write_journal(tmp_path, [make_record() for _ in range(3)])
    [path] = list_segments(tmp_path / "journal")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert any("corrupt" in line and "1 lost" in line for line in verify(tmp_path).problems)


async def test_only_what_is_not_folded_yet_is_to_fold(tmp_path):
    journal = Journal(tmp_path, node="here", worker=0, loop=asyncio.get_running_loop())
    journal.append(make_record(), lambda is_kept: None)
    await asyncio.sleep(0.01)
    assert verify(tmp_path).unfolded_bytes > 500
    fold(tmp_path)
    assert verify(tmp_path).unfolded_bytes == 0
    journal.close()


def test_a_running_fold_is_not_disturbed(tmp_path):
    folder = Folder(tmp_path)
    write_journal(tmp_path, [make_record()])
    folder.fold_all()
    assert verify(tmp_path, deep=True).is_whole
    write_journal(tmp_path, [make_record()])
    assert folder.fold_all().records == 1
    folder.close()
