import sqlite3

import pytest

from learning.ledger import PIECE_ROWS, Ledger, has_ledger
from tests.support.records import keep, make_record


def test_makes_the_file_where_there_is_none(tmp_path):
    assert not has_ledger(tmp_path / "data")
    with Ledger(tmp_path / "data") as ledger:
        assert ledger.rows("select * from budgets") == []
    assert has_ledger(tmp_path / "data")


def test_many_rows_are_written_in_pieces(tmp_path):
    with Ledger(tmp_path) as ledger:
        sql = "insert into exclusions(dataset_id, reason, n) values ('d', ?, 1)"
        assert ledger.write_in_pieces(sql, ((str(n),) for n in range(PIECE_ROWS + 1))) == (
            PIECE_ROWS + 1
        )
        assert ledger.row("select count(*) n from exclusions")["n"] == PIECE_ROWS + 1
        assert sum(1 for _ in ledger.each("select * from exclusions")) == PIECE_ROWS + 1


def test_a_transaction_is_all_or_nothing(tmp_path):
    with Ledger(tmp_path) as ledger:
        sql = "insert into exclusions(dataset_id, reason, n) values ('d', 'r', 1)"
        ledger.run(sql.replace("'r'", "'s'"))
        with ledger.transaction():
            ledger.execute(sql)
            with pytest.raises(sqlite3.IntegrityError):
                ledger.execute(sql)
            ledger.execute("delete from exclusions")
        with pytest.raises(sqlite3.IntegrityError):
            write_twice(ledger, sql)
        assert ledger.rows("select * from exclusions") == []


def write_twice(ledger, sql):
    with ledger.transaction():
        ledger.execute(sql)
        ledger.execute(sql)


def test_the_fold_goes_on_beside_it(tmp_path):
    with Ledger(tmp_path) as ledger:
        assert keep(tmp_path, [make_record()]).records == 1
        assert ledger.run("delete from budgets") == 0
