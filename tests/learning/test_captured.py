import msgspec
import pytest

from learning import captured as module
from learning.captured import (
    BadSelection,
    Selection,
    captured,
    captured_by_id,
    captured_ids,
    count_captured,
)
from telemetry.ids import IdSource
from tests.support.records import REQUEST, RESPONSE, keep, make_record

DAY_NS = 86_400_000_000_000


def on_day(day, **changes):
    at_ns = 1_700_000_000_000_000_000 + day * DAY_NS
    return make_record(id=IdSource(lambda: at_ns)(), ts_us=at_ns // 1000, **changes)


def test_captures_come_oldest_first_over_all_days(tmp_path):
    records = [on_day(day) for day in (2, 0, 1)]
    keep(tmp_path, records)
    found = list(captured(tmp_path))
    assert [row.id for row in found] == sorted(record.id for record in records)
    assert (found[0].request, found[0].response) == (REQUEST, RESPONSE)
    assert count_captured(tmp_path) == 3


def test_pages_hold_all_rows_once(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PAGE_ROWS", 3)
    records = [make_record(ts_us=5) for _ in range(10)]
    keep(tmp_path, records)
    assert {row.id for row in captured(tmp_path)} == {record.id for record in records}
    assert sum(1 for _ in captured(tmp_path)) == 10


def test_large_bodies_end_a_page_early(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PAGE_BYTES", 100)
    keep(tmp_path, [make_record() for _ in range(4)])
    assert sum(1 for _ in captured(tmp_path)) == 4


@pytest.mark.parametrize(
    ("selection", "count"),
    [
        (Selection(route="other"), 1),
        (Selection(backend="gpt-4"), 1),
        (Selection(task="extract-1"), 3),
        (Selection(source="traffic"), 3),
        (Selection(where="confidence < 0.5"), 1),
        (Selection(where="confidence < 0.5 -- a comment"), 1),
        (Selection(where="route = 'other' or 1"), 3),
        (Selection(where="route = 'other' or 1", backend="gpt-4"), 1),
        (Selection(since_us=4_000_000_000_000_000), 0),
        (Selection(until_us=5), 0),
    ],
)
def test_filters_and_conditions(tmp_path, selection, count):
    keep(
        tmp_path,
        [make_record(), make_record(route="other"), make_record(backend="gpt-4", confidence=0.1)],
    )
    assert count_captured(tmp_path, selection) == count
    assert sum(1 for _ in captured(tmp_path, selection)) == count
    assert sum(1 for _ in captured_ids(tmp_path, selection)) == count


@pytest.mark.parametrize("where", ["nonsense", "1; delete from requests", "1) or (", "select"])
def test_a_condition_that_is_no_sql_is_refused(tmp_path, where):
    keep(tmp_path, [make_record()])
    with pytest.raises(BadSelection, match="--where"):
        list(captured(tmp_path, Selection(where=where)))
    assert count_captured(tmp_path) == 1


def test_captures_by_id(tmp_path):
    records = [on_day(day) for day in (0, 1)]
    keep(tmp_path, records)
    wanted = [records[1].id, "none", on_day(5).id]
    assert [row.id for row in captured_by_id(tmp_path, wanted)] == [records[1].id]


def test_a_body_that_was_not_kept_is_none(tmp_path):
    keep(tmp_path, [make_record(capture="metadata")])
    (row,) = captured(tmp_path)
    assert (row.request, row.response) == (None, None)


def test_a_selection_is_written_without_what_was_not_said():
    assert msgspec.json.encode(Selection(route="r")) == b'{"route":"r"}'


def test_a_damaged_day_does_not_hide_the_others(tmp_path, capsys):
    keep(tmp_path, [on_day(0), on_day(1)])
    (tmp_path / "capture-2023-11-14.db").write_bytes(b"no database at all" * 999)
    assert sum(1 for _ in captured(tmp_path)) == 1
    assert count_captured(tmp_path) == 1
    assert "store_damaged" in capsys.readouterr().err


def test_a_day_that_breaks_off_gives_what_can_be_read(tmp_path, capsys):
    records = [on_day(0) for _ in range(600)]
    keep(tmp_path, [*records, on_day(1)])
    path = tmp_path / "capture-2023-11-14.db"
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200_000] = b"\xff" * 200_000
    path.write_bytes(data)
    found = list(captured(tmp_path))
    assert found[-1].ts_us > records[0].ts_us
    assert len(found) < 601
