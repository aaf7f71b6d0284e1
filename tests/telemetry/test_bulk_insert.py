import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.bulk_insert import insert_rows, insert_statement

values = st.none() | st.integers(-5, 5) | st.text(max_size=3) | st.binary(max_size=3)
tables = st.lists(st.tuples(st.integers(0, 1), values, values), max_size=20)


@given(tables)
def test_inserts_exactly_the_rows_whatever_is_null_or_default(rows):
    connection = sqlite3.connect(":memory:")
    connection.execute("create table t(a default 1, b, c)")
    insert_rows(connection, "t", ("a", "b", "c"), rows, defaults={"a": 1})
    assert connection.execute("select a, b, c from t order by rowid").fetchall() == rows
    connection.close()


def test_columns_that_say_nothing_are_left_out():
    connection = sqlite3.connect(":memory:")
    connection.execute("create table t(k, l, a default 1, b, c)")
    seen = []
    connection.set_trace_callback(seen.append)
    rows = [(7, 0, None, 1, 2), (8, 0, None, 1, 3)]
    insert_rows(connection, "t", ("k", "l", "b", "a", "c"), rows, defaults={"a": 1})
    assert [sql for sql in seen if sql.startswith("insert")] == [
        "insert into t(k,l,c) values (7,0,2)",
        "insert into t(k,l,c) values (8,0,3)",
    ]
    connection.close()


def test_rows_of_another_length_are_refused():
    connection = sqlite3.connect(":memory:")
    with pytest.raises(ValueError, match="zip"):
        insert_rows(connection, "t", ("a", "b"), [(1, 2), (3,)])
    connection.close()


def test_the_statement_names_its_columns():
    assert insert_statement("t", ("a", "b")) == "insert into t(a,b) values (?,?)"
    ignoring = insert_statement("t", ("a",), known="ignore")
    assert ignoring == "insert or ignore into t(a) values (?)"
