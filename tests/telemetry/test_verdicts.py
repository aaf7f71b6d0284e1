"""What callers said, read from the store."""

import asyncio
import sqlite3
from contextlib import closing

from telemetry.ids import new_id
from telemetry.journal import Journal
from telemetry.queries import captures
from telemetry.record import FeedbackRecord
from telemetry.verdicts import FEEDBACK_MAX, FeedbackReader, feedback_of
from tests.support.records import fold, keep, make_record


def keep_feedback(directory, *items):
    async def write():
        journal = Journal(directory, node="n", worker=0, loop=asyncio.get_running_loop())
        for item in items:
            journal.append_feedback(item)
        journal.close()

    asyncio.run(write())
    fold(directory)


def said(request_id, ts_us=1_000_000, **more):
    return FeedbackRecord(new_id(), request_id, ts_us, **{"name": "thumb", **more})


def test_shows_what_was_said_oldest_first(tmp_path):
    late = said("a", 2_000_000, text="no", caller="billing", demonstration=b'{"content": "x"}')
    early = said("a", 1_000_000, number=1.0)
    keep_feedback(tmp_path, late, early, said("b"))
    assert feedback_of(tmp_path, "a") == [
        {"id": early.id, "ts": "1970-01-01T00:00:01.000000Z", "name": "thumb", "value": 1.0,
         "source": "feedback", "caller": None},
        {"id": late.id, "ts": "1970-01-01T00:00:02.000000Z", "name": "thumb", "value": "no",
         "source": "feedback", "caller": "billing", "demonstration": {"content": "x"}},
    ]  # fmt: skip


def test_shows_the_newest_of_very_many(tmp_path):
    keep_feedback(tmp_path, *(said("a", number) for number in range(FEEDBACK_MAX + 5)))
    found = feedback_of(tmp_path, "a")
    assert len(found) == FEEDBACK_MAX
    assert found[-1]["ts"].endswith(f"{FEEDBACK_MAX + 4:06d}Z")


def test_a_demonstration_of_another_writer_is_shown_as_text(tmp_path):
    keep_feedback(tmp_path, said("a", demonstration=b"not \xffjson"))
    assert feedback_of(tmp_path, "a")[0]["demonstration"] == "not \ufffdjson"


def test_a_store_of_an_earlier_version_names_no_caller(tmp_path):
    keep_feedback(tmp_path, said("a", caller="billing"))
    with closing(sqlite3.connect(tmp_path / "learning.db")) as connection:
        connection.execute("alter table feedback drop column caller")
    assert feedback_of(tmp_path, "a")[0]["caller"] is None


def test_a_store_without_feedback_has_none(tmp_path):
    assert feedback_of(tmp_path / "missing", "a") == []
    with closing(FeedbackReader(tmp_path)) as reader:
        assert reader.of("a") == []


def test_a_damaged_file_hides_no_capture_and_is_told_of(tmp_path, capsys):
    record = make_record()
    keep(tmp_path, [record])
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"learning.db{suffix}").unlink(missing_ok=True)
    (tmp_path / "learning.db").write_bytes(b"no database" * 1000)
    (found,) = captures(tmp_path)
    assert (found["id"], found["feedback"]) == (record.id, [])
    assert "store_damaged" in capsys.readouterr().err


def test_a_table_that_is_damaged_within_is_given_up(tmp_path, capsys):
    keep_feedback(tmp_path, *(said("a", text="x" * 500) for _ in range(50)))
    path = tmp_path / "learning.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)").fetchall()
        (root,) = connection.execute(
            "select rootpage from sqlite_schema where name = 'feedback'"
        ).fetchone()
    content = bytearray(path.read_bytes())
    content[(root - 1) * 4096 : root * 4096] = b"\xff" * 4096
    path.write_bytes(content)
    with closing(FeedbackReader(tmp_path)) as reader:
        assert reader.of("a") == []
        assert reader.of("a") == []
    assert capsys.readouterr().err.count("store_damaged") == 1
