"""Candidates of many decisions at once."""

import sqlite3
from contextlib import closing

from hypothesis import given
from hypothesis import strategies as st

from telemetry.decision_insert import Decided, insert_decisions, prepare
from telemetry.migrations import migrate
from telemetry.rows import DECISION_COLUMNS, candidate_rows
from tests.support.records import make_candidate

SETS = [
    candidate_rows(()),
    candidate_rows((make_candidate("a"),)),
    candidate_rows((make_candidate("a"), make_candidate("b", cost_usd=None, latency_p50_us=None))),
    candidate_rows(tuple(make_candidate(name) for name in "abcde")),
]
ALL = f"select {','.join(DECISION_COLUMNS)} from decisions order by request_seq, rank"


def opened():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, "capture", "f")
    prepare(connection)
    return closing(connection)


@given(st.lists(st.sampled_from(SETS), max_size=12), st.lists(st.sampled_from(SETS), max_size=12))
def test_inserts_for_each_request_its_own_whoever_shares_them(first, second):
    with opened() as connection:
        wanted = []
        for start, sets in ((1, first), (100, second)):
            decided = [Decided(start + index, rows) for index, rows in enumerate(sets)]
            insert_decisions(connection, decided)
            wanted += [(one.seq, *row) for one in decided for row in one.rows]
        assert connection.execute(ALL).fetchall() == wanted


def test_a_rollback_takes_what_was_shared_along():
    with opened() as connection:
        connection.execute("begin")
        insert_decisions(connection, [Decided(1, SETS[1]), Decided(2, SETS[1])])
        connection.execute("rollback")
        insert_decisions(connection, [Decided(3, SETS[2]), Decided(4, SETS[2])])
        found = connection.execute("select distinct request_seq from decisions").fetchall()
        assert found == [(3,), (4,)]


def test_many_that_share_cost_one_statement():
    with opened() as connection:
        seen = []
        connection.set_trace_callback(seen.append)
        insert_decisions(connection, [Decided(seq, SETS[3]) for seq in range(50)])
        assert len([sql for sql in seen if sql.startswith("insert into decisions")]) == 1


def test_preparing_twice_is_no_error():
    with opened() as connection:
        prepare(connection)
