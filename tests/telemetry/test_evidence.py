"""What was folded since one last looked: each row once, and only that of the routes asked for."""

import time
from pathlib import Path

import msgspec
import pytest

from telemetry import evidence
from telemetry.cursor import Cursor
from telemetry.evidence import (
    answered,
    cursor_now,
    is_first_complaint,
    labels_of,
    news_since,
)
from telemetry.learning_store import LearningBatch, LearningStore, Progress, feedback_row, label_row
from telemetry.record import FeedbackRecord, LabelRecord
from tests.support.records import keep, make_attempt, make_record

NOW_US = int(time.time() * 1e6)


def add_verdicts(
    directory: Path,
    labels: list[LabelRecord] | None = None,
    feedback: list[FeedbackRecord] | None = None,
) -> None:
    """As the fold writes them."""
    store = LearningStore(directory)
    batch = LearningBatch(
        feedback=[feedback_row(one) for one in feedback or []],
        labels=[label_row(one) for one in labels or []],
    )
    store.write(batch, segment="s", node="n", worker=0, progress=Progress())
    store.close()


def label(number: int, request_id: str, **changes: object) -> LabelRecord:
    plain = LabelRecord(
        id=f"l{number}", request_id=request_id, input_hash=b"x", source="shadow", ts_us=NOW_US
    )
    return msgspec.structs.replace(plain, **changes)


def said(number: int, request_id: str, value: float, name: str = "thumb") -> FeedbackRecord:
    return FeedbackRecord(f"f{number}", request_id, NOW_US, name, number=value)


def test_an_empty_folder_has_no_news(tmp_path: Path) -> None:
    assert cursor_now(tmp_path) == Cursor()
    news = news_since(tmp_path, Cursor(), {"extract"})
    assert (news.answers, news.labels, news.feedback, news.has_more) == ([], [], [], False)
    assert answered(tmp_path, make_record().id) is None
    assert labels_of(tmp_path, "x") == []


def test_each_answer_is_news_once(tmp_path: Path) -> None:
    first = make_record(canary="next")
    keep(tmp_path, [first, make_record(route="other"), make_record(decided=None)])
    news = news_since(tmp_path, Cursor(), {"extract"})
    (row,) = news.answers
    assert (row.id, row.route, row.decided, row.canary) == (first.id, "extract", "local", "next")
    assert (row.first_confidence, row.first_us, row.first_error) == (0.93, 180_000, None)
    assert news_since(tmp_path, news.cursor, {"extract"}).answers == []
    second = make_record(attempts=(make_attempt(error_type="timeout", confidence=None),))
    keep(tmp_path, [second])
    (row,) = news_since(tmp_path, news.cursor, {"extract"}).answers
    assert (row.id, row.first_error, row.first_confidence) == (second.id, "timeout", None)
    found = answered(tmp_path, second.id)
    assert found is not None
    assert found == row


def test_what_is_there_already_can_be_left_out(tmp_path: Path) -> None:
    keep(tmp_path, [make_record()])
    add_verdicts(tmp_path, [label(1, "a")], [said(1, "a", 0)])
    news = news_since(tmp_path, cursor_now(tmp_path), {"extract"})
    assert (news.answers, news.labels, news.feedback) == ([], [], [])


def test_verdicts_are_news_once(tmp_path: Path) -> None:
    add_verdicts(
        tmp_path, [label(1, "a", agrees=False, backend="o3", total_us=7)], [said(1, "a", 0)]
    )
    news = news_since(tmp_path, Cursor(), ())
    (found,), (told,) = news.labels, news.feedback
    assert (found.request_id, found.agrees, found.backend, found.total_us) == ("a", False, "o3", 7)
    assert (told.request_id, told.name, told.number) == ("a", "thumb", 0)
    assert labels_of(tmp_path, "a") == [found]
    add_verdicts(tmp_path, [label(2, "b")])
    assert [one.request_id for one in news_since(tmp_path, news.cursor, ()).labels] == ["b"]


def test_a_look_reads_so_much_and_says_that_there_is_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "ROWS_MAX", 2)
    records = [make_record() for _ in range(5)]
    keep(tmp_path, records)
    seen, cursor, more = [], Cursor(), True
    while more:
        news = news_since(tmp_path, cursor, {"extract"})
        seen += [row.id for row in news.answers]
        cursor, more = news.cursor, news.has_more
    assert seen == [record.id for record in records]


def test_a_complaint_made_again_is_not_the_first(tmp_path: Path) -> None:
    add_verdicts(
        tmp_path,
        feedback=[said(1, "a", 1), said(2, "a", 0), said(3, "a", 0), said(4, "b", 0, "other")],
    )
    rows = news_since(tmp_path, Cursor(), ()).feedback
    first = [is_first_complaint(tmp_path, row, ("thumb",)) for row in rows]
    assert first == [True, True, False, True]
