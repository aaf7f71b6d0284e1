import pytest

from learning import forget as module
from learning.dataset import build
from learning.dataset_spec import DatasetError, DatasetName, DatasetSpec
from learning.dataset_store import diff, list_datasets, read_examples, show
from learning.forget import forget
from learning.ledger import Ledger
from telemetry.errors import Locked
from telemetry.lock import DirectoryLock
from telemetry.queries import captures
from telemetry.verify import verify
from tests.learning.test_label_store import keep as keep_label
from tests.learning.test_label_store import label
from tests.support.chats import chat, prose
from tests.support.records import keep

SECRET = "unmistakable-nightingale"


def prepare(directory):
    records = [chat(prose(n), user="other") for n in range(20)]
    mine = [chat(f"{SECRET} {prose(f'mine {n}')}", SECRET, user="me", caller="app")
            for n in range(3)]  # fmt: skip
    keep(directory, [*records, *mine])
    keep_label(directory, label("l", SECRET, request_id=mine[0].id))
    build(directory, "d", DatasetSpec())
    return mine


def files_with(directory, words):
    found = []
    for path in directory.rglob("*"):
        if path.is_file() and words.encode() in path.read_bytes():
            found.append(path.name)
    return found


def test_nothing_is_left_in_any_file(tmp_path):
    prepare(tmp_path)
    assert files_with(tmp_path, SECRET)
    report = forget(tmp_path, "user", "me")
    assert (report.requests, report.labels, report.unemptied) == (3, 1, [])
    assert files_with(tmp_path, SECRET) == []
    assert len(list(captures(tmp_path))) == 20


def test_rows_of_a_data_set_are_overwritten_not_only_unlinked(tmp_path):
    prepare(tmp_path)
    with (tmp_path / "datasets/d/1/rows.jsonl").open("rb") as still_open:
        forget(tmp_path, "user", "me")
        assert SECRET.encode() not in still_open.read()


def test_data_sets_become_versions_without_it_and_models_are_named(tmp_path):
    prepare(tmp_path)
    with Ledger(tmp_path) as ledger:
        ledger.run(
            "insert into models(id, base, dataset_id, method, params, created_us)"
            " values ('m', 'b', 'd@1', 'lora', '{}', 1)"
        )
    report = forget(tmp_path, "caller", "app")
    assert report.datasets == ["d@1 -> d@2"]
    assert report.models == ["m"]
    versions = {version["id"]: version for version in list_datasets(tmp_path)}
    assert versions["d@1"]["is_there"] is False
    assert versions["d@2"]["rows"] == 20
    assert len(list(read_examples(tmp_path, DatasetName("d", 2)))) == 20
    told = show(tmp_path, DatasetName("d", 2))
    assert sum(told["splits"].values()) == told["label_sources"]["traffic"] == 20
    assert told["groups"] == 20
    assert "# d@2" in (tmp_path / "datasets/d/2/card.md").read_text()
    with pytest.raises(DatasetError, match="d@1 are gone"):
        diff(tmp_path, DatasetName("d", 1), DatasetName("d", 2))
    with Ledger(tmp_path) as ledger:
        assert {r["dataset_id"] for r in ledger.rows("select * from dataset_rows")} == {"d@2"}


def test_what_was_left_out_by_name_goes_too(tmp_path):
    bad = chat("bad", status="error", complete=False, user="me")
    keep(tmp_path, [chat("good"), chat("mine", user="me"), bad])
    build(tmp_path, "d", DatasetSpec())
    assert files_with(tmp_path / "datasets", bad.id)
    forget(tmp_path, "user", "me")
    assert files_with(tmp_path / "datasets", bad.id) == []
    assert show(tmp_path, DatasetName("d", 2))["named"] == {}


def test_what_a_killed_build_has_read_goes_too(tmp_path):
    (mine, *_) = prepare(tmp_path)
    left = tmp_path / "datasets/d/.2.part"
    left.mkdir()
    (left / "0.rows").write_text(SECRET)
    forget(tmp_path, "id", mine.id)
    assert not left.exists()


def test_it_waits_for_a_build(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BUILD_WAIT_S", 0.05)
    prepare(tmp_path)
    with DirectoryLock(tmp_path / "datasets", "build"), pytest.raises(Locked):
        forget(tmp_path, "user", "me")
    assert forget(tmp_path, "user", "me").requests == 3


def test_a_data_set_of_nothing_else_is_gone(tmp_path):
    keep(tmp_path, [chat(SECRET, user="me")])
    build(tmp_path, "d", DatasetSpec())
    assert forget(tmp_path, "user", "me").datasets == ["d@1 -> nothing left"]


def test_one_request_goes_alone_and_twice_does_no_harm(tmp_path):
    (first, *_) = prepare(tmp_path)
    assert forget(tmp_path, "id", first.id).requests == 1
    assert forget(tmp_path, "id", first.id).requests == 0
    assert len(list(captures(tmp_path))) == 22


def test_what_remains_is_whole(tmp_path):
    prepare(tmp_path)
    forget(tmp_path, "user", "me")
    report = verify(tmp_path, deep=True)
    assert report.is_whole, report.problems


def test_what_was_forgotten_is_in_no_later_data_set(tmp_path):
    mine = prepare(tmp_path)
    with Ledger(tmp_path) as ledger:
        ledger.run("insert into tombstones values (?, 'id', 1, null)", (mine[0].id,))
    assert build(tmp_path, "e", DatasetSpec()).excluded["tombstoned"] == 1
    assert forget(tmp_path, "user", "nobody").requests == 1, "what a killed run had found"
