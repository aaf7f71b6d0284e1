import sqlite3
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlite_utils import Database

from telemetry.ids import IdSource
from telemetry.store import (
    day_at,
    day_of,
    day_path,
    days,
    has_schema,
    open_for_reading,
    open_for_writing,
)
from tests.support.records import REQUEST, keep, make_record


def test_a_day_is_utc_and_of_the_id():
    last = IdSource(lambda: (1_700_006_400 * 1000 - 1) * 1_000_000)()
    first = IdSource(lambda: 1_700_006_400 * 1_000_000_000)()
    assert (day_of(last, 0), day_of(first, 0)) == ("2023-11-14", "2023-11-15")
    assert day_of("imported", 1_700_006_400_000_000) == "2023-11-15"
    assert day_at(0) == "1970-01-01"


@given(st.integers(0, 253_402_300_799_999), st.integers(-70_000, 70_000))
def test_the_day_of_an_id_is_that_of_its_own_milliseconds(moment_ms, around_ms):
    midnight_ms = moment_ms // 86_400_000 * 86_400_000
    for stamp in (moment_ms, max(0, midnight_ms + around_ms)):
        digits = f"{stamp:012x}"
        identifier = f"{digits[:8]}-{digits[8:]}-7000-8000-000000000000"
        assert day_of(identifier, 0) == day_at(stamp // 1000)


def test_an_id_of_no_day_there_is_is_refused():
    with pytest.raises((ValueError, OverflowError)):
        day_of("ffffffff-ffff-7000-8000-000000000000", 0)


def test_lists_day_files_and_nothing_else(tmp_path):
    assert days(tmp_path / "missing") == []
    for name in ("capture-2026-01-02.db", "capture-2026-01-01.db", "learning.db", "capture-x.db"):
        (tmp_path / name).touch()
    assert days(tmp_path) == ["2026-01-01", "2026-01-02"]
    assert day_path(tmp_path, "2026-01-01").exists()


def test_files_are_closed_to_others_and_survive_a_power_cut(tmp_path):
    path = tmp_path / "capture-2026-01-01.db"
    connection = open_for_writing(path, "capture")
    connection.execute("insert into folds values ('s', 'n', 0, 1, 1, 1)")
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
    assert connection.execute("pragma synchronous").fetchone() == (2,)
    connection.close()


def test_a_reader_cannot_write_and_works_with_and_without_a_writer(tmp_path):
    path = tmp_path / "capture-2026-01-01.db"
    writer = open_for_writing(path, "capture")
    for _ in range(2):
        reader = open_for_reading(path)
        assert reader.execute("select count(*) from requests").fetchone()[0] == 0
        with pytest.raises(sqlite3.OperationalError):
            reader.execute("insert into folds values ('s', 'n', 0, 1, 1, 1)")
        reader.close()
        writer.close()


def test_a_file_without_tables_is_not_there_yet(tmp_path):
    path = tmp_path / "capture-2026-01-01.db"
    assert not has_schema(path)
    path.touch()
    assert not has_schema(path)
    open_for_writing(path, "capture").close()
    assert has_schema(path)


def test_sqlite_utils_opens_a_day_as_it_is_and_reads_plain_json(tmp_path):
    keep(tmp_path, [make_record()])
    [day] = days(tmp_path)
    database = Database(day_path(tmp_path, day))
    [call] = database["v_calls"].rows
    assert call["request"].encode() == REQUEST
    assert call["route"] == "extract"
    assert {view.name for view in database.views} == {
        "v_calls", "v_decisions", "v_attempts", "v_spend",
    }  # fmt: skip
    for view in database.views:
        assert len(list(view.rows)) >= 1
    database.close()
