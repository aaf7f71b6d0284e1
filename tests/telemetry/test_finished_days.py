import threading
import time

import pytest

from telemetry.finished_days import INDEXES, DayFinisher, finish
from telemetry.fold import Folder
from telemetry.ids import IdSource
from telemetry.store import day_files, open_for_reading
from telemetry.verify import verify
from tests.support.records import keep, make_record, write_journal

NOON_S = 1_760_011_200  # 2025-10-09 12:00 UTC
DAY_S = 86_400


@pytest.fixture
def three_days(tmp_path):
    moments = (NOON_S - 2 * DAY_S, NOON_S - DAY_S, NOON_S)
    keep(tmp_path, [make_record(id=IdSource(lambda at=at: at * 10**9)()) for at in moments])
    return tmp_path


def indexed(directory):
    found = []
    for day, path in day_files(directory):
        connection = open_for_reading(path)
        names = {row[0] for row in connection.execute("select name from sqlite_master")}
        connection.close()
        if names >= set(INDEXES):
            found.append(day)
    return found


def test_days_that_are_over_are_indexed_one_at_a_time_oldest_first(three_days):
    finisher = DayFinisher(three_days)
    assert finisher.finish_one(NOON_S).name == "capture-2025-10-07.db"
    assert indexed(three_days) == ["2025-10-07"]
    assert finisher.finish_one(NOON_S).name == "capture-2025-10-08.db"
    assert finisher.finish_one(NOON_S) is None
    assert indexed(three_days) == ["2025-10-07", "2025-10-08"]
    assert verify(three_days, deep=True).is_whole


def test_a_day_has_an_hour_of_grace(three_days):
    finisher = DayFinisher(three_days)
    midnight_s = NOON_S + DAY_S // 2
    while finisher.finish_one(midnight_s + 3599):
        pass
    assert "2025-10-09" not in indexed(three_days)
    assert finisher.finish_one(midnight_s + 3600) is not None
    assert "2025-10-09" in indexed(three_days)


def test_an_indexed_day_is_not_looked_at_again(three_days):
    while DayFinisher(three_days).finish_one(NOON_S):
        pass
    assert indexed(three_days) == ["2025-10-07", "2025-10-08"]


def test_an_idle_folder_does_it_by_itself(three_days, monkeypatch):
    folder = Folder(three_days)
    folder.fold_once()
    assert indexed(three_days) == []
    monkeypatch.setattr(folder, "_finish_due_s", time.monotonic())
    folder.fold_once()
    deadline_s = time.monotonic() + 10
    while indexed(three_days) != ["2025-10-07"]:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    folder.close()


def test_the_fold_goes_on_while_a_day_is_indexed(three_days, monkeypatch):
    may_end = threading.Event()
    monkeypatch.setattr("telemetry.finished_days.finish", lambda connection: not may_end.wait(10))
    folder = Folder(three_days)
    monkeypatch.setattr(folder, "_finish_due_s", time.monotonic())
    folder.fold_once()
    record = make_record()
    write_journal(three_days, [record])
    assert folder.fold_once().records == 1
    may_end.set()
    folder.close()


def test_a_leaving_folder_does_not_wait_for_an_index(three_days):
    finisher = DayFinisher(three_days)
    finisher.interrupt()
    assert finisher.finish_one(NOON_S) is None
    assert indexed(three_days) == []


def test_an_index_that_is_interrupted_leaves_the_day_as_it_was(three_days, capsys):
    (_, path), *_ = day_files(three_days)
    finisher = DayFinisher(three_days)

    def interrupted(connection):
        connection.set_progress_handler(lambda: 1, 1)
        return finish(connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("telemetry.finished_days.finish", interrupted)
        assert finisher.finish_one(NOON_S) is None
    assert "day_not_indexed" in capsys.readouterr().err
    assert indexed(three_days) == []
    assert DayFinisher(three_days).finish_one(NOON_S) == path
    assert verify(three_days, deep=True).is_whole
