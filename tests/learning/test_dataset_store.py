import time

import pytest

from learning.dataset import build
from learning.dataset_questions import dataset_questions
from learning.dataset_spec import DatasetError, DatasetName, DatasetSpec, SplitRule
from learning.dataset_store import (
    diff,
    find,
    list_datasets,
    read_examples,
    show,
    spec_of,
    trace,
    where_used,
)
from learning.ledger import Ledger
from tests.support.chats import chat, keep_chats
from tests.support.records import keep


@pytest.fixture
def built(tmp_path):
    keep_chats(tmp_path, 40)
    build(tmp_path, "d", DatasetSpec())
    return tmp_path


def add_model(directory):
    with Ledger(directory) as ledger:
        ledger.run(
            "insert into models(id, base, dataset_id, method, params, created_us)"
            " values ('m@1', 'base', 'd@1', 'lora', '{}', 1)"
        )
        ledger.run(
            "insert into deployments(id, model_id, backend, stage, share, started_us)"
            " values ('x', 'm@1', 'local', 'live', 1.0, 1)"
        )


def test_versions_are_listed_and_found(built):
    (version,) = list_datasets(built)
    assert (version["id"], version["rows"], version["is_there"]) == ("d@1", 40, True)
    assert find(built, "d") == find(built, "d@1") == DatasetName("d", 1)
    for text in ("d@2", "e"):
        with pytest.raises(DatasetError, match="there is no data set"):
            find(built, text)
    assert spec_of(built, DatasetName("d", 1)) == DatasetSpec()
    assert show(built, DatasetName("d", 1))["n_rows"] == 40


def test_there_are_none_without_a_store(tmp_path):
    assert list_datasets(tmp_path) == []
    with pytest.raises(DatasetError):
        find(tmp_path, "d")


def test_a_row_is_traced_to_its_request_and_models(built):
    add_model(built)
    found = trace(built, "d@1", 7)
    assert found["request"]["id"] == found["request_id"]
    assert found["request"]["attempts"]
    assert found["request"]["policy"] == "3f2a9c1d5e7b"
    assert [model["id"] for model in found["models"]] == ["m@1"]
    with pytest.raises(DatasetError, match="no row 40"):
        trace(built, "d", 40)


def test_a_request_is_followed_to_where_it_serves(built):
    add_model(built)
    request_id = trace(built, "d", 0)["request_id"]
    found = where_used(built, request_id)
    assert found["datasets"] == [
        {"dataset": "d@1", "row": 0, "split": found["datasets"][0]["split"]}
    ]
    assert found["deployments"][0]["backend"] == "local"
    assert where_used(built, "none")["datasets"] == []


def test_both_take_less_than_50_ms(built):
    request_id = trace(built, "d", 0)["request_id"]
    for look in (lambda: trace(built, "d", 5), lambda: where_used(built, request_id)):
        best_s = min(_timed(look) for _ in range(5))
        assert best_s < 0.05


def _timed(look):
    started_s = time.perf_counter()
    look()
    return time.perf_counter() - started_s


def test_two_versions_are_compared(built):
    keep(built, [chat(f"something new {n}") for n in range(3)])
    build(built, "d", DatasetSpec(split=SplitRule(test=0.5)))
    found = diff(built, find(built, "d@1"), find(built, "d@2"))
    left = show(built, DatasetName("d", 2))["excluded"].get("was_train", 0)
    assert (found["only_first"], found["only_second"]) == (left, 3)
    assert found["specification"] == {"split.test": [None, 0.5]}
    assert all(move["to"] in ("test", "valid") for move in found["moved"])


def test_rows_of_a_split(built):
    splits = {
        e.split for e in read_examples(built, DatasetName("d", 1), splits=frozenset(["test"]))
    }
    assert splits <= {"test"}
    questions = dataset_questions(built, "d", split="train")
    assert all(q.expected.startswith("answer") for q in questions)
    assert len(questions) > 20


def test_rows_that_are_gone_are_told(built):
    (built / "datasets/d/1/rows.jsonl").unlink()
    assert list_datasets(built)[0]["is_there"] is False
    with pytest.raises(DatasetError, match="are gone"):
        list(read_examples(built, DatasetName("d", 1)))
