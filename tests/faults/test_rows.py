"""No row of the fault table is without a test, and no test of this folder without a row."""

from tests.faults.rows import ROWS, played, rows_of, table

FIRST_HALF = {*range(1, 29), 42, 43, 44, 48}


def test_every_row_has_a_test_that_runs_in_the_quick_run() -> None:
    assert set(ROWS) == FIRST_HALF
    quick = {row for _, test, is_slow in played() if not is_slow for row in rows_of(test)}
    assert FIRST_HALF - quick == set()


def test_every_test_is_named_for_its_rows() -> None:
    nameless = [test for file, test, _ in played() if file != "test_rows.py" and not rows_of(test)]
    assert nameless == []


def test_the_table_names_each_test_once_a_row() -> None:
    lines = table().splitlines()
    assert sum(line.startswith("F") for line in lines) == len(ROWS)
    assert len(lines) > 2 * len(ROWS)
    assert rows_of("test_f11_f12_cut_anywhere") == [11, 12]
    assert rows_of("test_other") == []
