import sqlite3

import pytest

import telemetry.migrations
from telemetry.errors import StoreError, StoreTooNew
from telemetry.migrations import Migration, migrate, migrations
from telemetry.rows import (
    ATTEMPT_COLUMNS,
    BODY_COLUMNS,
    DECISION_COLUMNS,
    REQUEST_COLUMNS,
    REQUEST_DEFAULTS,
)


@pytest.fixture
def connection():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


def columns(connection, table):
    return {row[1]: row for row in connection.execute(f"pragma table_info({table})")}


@pytest.mark.parametrize("kind", ["capture", "learning"])
def test_are_numbered_from_one_without_holes_and_applied_once(connection, kind):
    numbers = [step.number for step in migrations(kind)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert migrate(connection, kind, "f") == numbers[-1]
    assert connection.execute("pragma user_version").fetchone() == (numbers[-1],)
    assert migrate(connection, kind, "f") == numbers[-1]


def test_the_schema_has_the_columns_that_rows_are_made_for(connection):
    migrate(connection, "capture", "f")
    requests = columns(connection, "requests")
    assert tuple(requests) == (*REQUEST_COLUMNS, "row_crc")
    assert tuple(columns(connection, "decisions")) == DECISION_COLUMNS
    assert set(columns(connection, "attempts")) == {"id", *ATTEMPT_COLUMNS}
    assert tuple(columns(connection, "bodies")) == BODY_COLUMNS
    defaults = {name: int(row[4]) for name, row in requests.items() if row[4] is not None}
    assert defaults == REQUEST_DEFAULTS


def test_only_identity_moment_kind_and_outcome_must_be_known(connection):
    migrate(connection, "capture", "f")
    required = {name for name, row in columns(connection, "requests").items() if row[3]}
    assert required == {"id", "ts_us", "api", "status", "complete"}


def test_knows_every_kind_of_attempt(connection):
    migrate(connection, "capture", "f")
    connection.execute(
        "insert into requests(seq, id, ts_us, api, status, complete) values (1,'i',1,'chat','ok',1)"
    )
    kinds = ("primary", "retry", "fallback", "hedge", "escalation", "shadow", "canary")
    for number, kind in enumerate((*kinds, "agreement", "judge", "probe")):
        connection.execute(
            "insert into attempts(request_seq, n, kind, backend, start_us, won)"
            " values (1, ?, ?, 'b', 0, 0)",
            (number, kind),
        )
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(
            "insert into attempts(request_seq, n, kind, backend, start_us, won)"
            " values (1, 99, 'other', 'b', 0, 0)"
        )


def test_labels_of_before_outlive_the_table_made_anew(connection):
    older = [step for step in migrations("learning") if step.number < 5]
    for step in older:
        connection.executescript(f"begin;{step.sql};pragma user_version = {step.number};commit;")
    connection.execute(
        "insert into labels(id, request_id, input_hash, source, ts_us, row_crc)"
        " values ('l', 'r', x'00', 'human', 7, 1)"
    )
    connection.commit()
    migrate(connection, "learning", "f")
    (row,) = connection.execute("select id, source, ts_us, row_crc, probability from labels")
    assert tuple(row) == ("l", "human", 7, None, None)
    connection.execute(
        "insert into labels(id, request_id, input_hash, source, ts_us) values"
        " ('s', 'r', x'00', 'shadow', 7)"
    )
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(
            "insert into labels(id, request_id, input_hash, source, ts_us) values"
            " ('x', 'r', x'00', 'anybody', 7)"
        )


def test_a_later_schema_is_refused(connection):
    connection.execute("pragma user_version = 999")
    with pytest.raises(StoreTooNew, match="schema 999"):
        migrate(connection, "capture", "f.db")


def test_a_failing_step_leaves_the_schema_before_it(connection, monkeypatch):
    steps = [Migration(1, "good", "create table a(x);"), Migration(2, "bad", "create tabel b(x);")]
    monkeypatch.setattr(telemetry.migrations, "migrations", lambda kind: steps)
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, "capture", "f")
    connection.rollback()
    assert connection.execute("pragma user_version").fetchone() == (1,)


def test_an_sqlite_without_strict_tables_is_refused(connection, monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 0))
    with pytest.raises(StoreError, match=r"3\.37"):
        migrate(connection, "capture", "f")
