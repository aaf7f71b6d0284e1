"""Captures with what their labels say of every backend that answered."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from learning.labelled import Row, is_fitted_on, is_one_of, labelled_rows
from tests.support.labelled import answer_body, asked, keep_labelled
from tests.support.records import make_attempt

MODELS = {"local": ["local", "liability-8b"], "gpt-4": ["gpt-4", "gpt-4"]}


def rows(directory: Path, **options: Any) -> list[Row]:
    return list(labelled_rows(directory, models=MODELS, **options))


def only(directory: Path, record: Any, said: str | None, **label: Any) -> Row:
    keep_labelled(directory, [record], lambda identifier: said, **label)
    (row,) = rows(directory)
    return row


def test_an_answer_is_held_against_its_label(tmp_path: Path) -> None:
    row = only(tmp_path, asked("How much?", "1,250.10", confidence=0.7), "1250.1")
    assert row.right == {"local": 1, "gpt-4": 1}
    assert row.text == "How much?"
    assert row.first is not None
    assert (row.first.backend, row.first.confidence, row.first.text) == ("local", 0.7, "1,250.10")
    assert (row.first.logprob_mean, row.first.logprob_min) == (-0.08, -1.2)
    assert row.is_even
    assert row.reason == "cheapest of 2"


def test_a_wrong_one_is_wrong_and_the_teachers_own_right(tmp_path: Path) -> None:
    row = only(tmp_path, asked("How much?", "7"), "8", model="gpt-4-0613")
    assert row.right == {"local": 0, "gpt-4": 1}


def test_a_persons_label_is_nobodys_answer(tmp_path: Path) -> None:
    assert only(tmp_path, asked("How much?", "7"), "7", source="human").right == {"local": 1}


def test_an_escalated_answer_counts_as_well(tmp_path: Path) -> None:
    first = make_attempt("local", confidence=0.2, won=False, body=answer_body("7"))
    second = make_attempt("gpt-4", kind="escalation", confidence=None)
    record = asked("How much?", "8", attempts=(first, second), backend="gpt-4")
    row = only(tmp_path, record, "8")
    assert row.right == {"local": 0, "gpt-4": 1}
    assert [given.backend for given in row.answers] == ["local", "gpt-4"]
    assert row.first is not None
    assert row.first.confidence == 0.2


def test_a_first_call_that_failed_has_no_answer(tmp_path: Path) -> None:
    first = make_attempt("local", error_type="timeout", won=False)
    record = asked("a", "8", attempts=(first, make_attempt("gpt-4", kind="fallback")))
    row = only(tmp_path, msgspec.structs.replace(record, backend="gpt-4"), "8")
    assert (row.first, row.first_backend) == (None, "local")
    assert row.right == {"gpt-4": 1}


def test_without_a_label_nothing_is_known(tmp_path: Path) -> None:
    row = only(tmp_path, asked("How much?", "7"), None)
    assert (row.right, row.is_even) == ({}, False)
    assert rows(tmp_path, only_labelled=True) == []


@pytest.mark.parametrize(
    "change",
    [{"api": "embeddings"}, {"request": b"{\"model\": 1}"},
     {"attempts": ()}, {"source": "elsewhere"}],
)  # fmt: skip
def test_what_cannot_be_read_is_no_row(tmp_path: Path, change: dict[str, Any]) -> None:
    keep_labelled(tmp_path, [msgspec.structs.replace(asked("a", "b"), **change)], lambda _: "b")
    assert rows(tmp_path) == []


def test_one_route_alone(tmp_path: Path) -> None:
    records = [asked("a", "b"), asked("c", "d", route="other")]
    keep_labelled(tmp_path, records, lambda _: "b")
    assert [row.route for row in rows(tmp_path, route="other")] == ["other"]
    assert len(rows(tmp_path)) == 2


def test_labels_are_split_by_what_was_asked_once_for_all() -> None:
    halves = [is_fitted_on(b"%d" % number) for number in range(1000)]
    assert 400 < sum(halves) < 600
    assert halves[:8] == [is_fitted_on(b"%d" % number) for number in range(8)]


def test_models_answer_by_dated_names() -> None:
    assert is_one_of("gpt-4-0613", ["gpt-4"])
    assert not is_one_of("gpt-4o", ["gpt-4"])


def test_an_answer_that_was_not_kept_is_not_taken_from_another(tmp_path: Path) -> None:
    first = make_attempt("local", confidence=0.2, won=False)
    second = make_attempt("gpt-4", kind="escalation", confidence=None)
    row = only(tmp_path, asked("a", "8", attempts=(first, second), backend="gpt-4"), "8")
    assert (row.first, row.first_backend) == (None, "local")
    assert row.right == {"gpt-4": 1}
