import json
import shutil

import msgspec
import pytest

from learning import dataset as module
from learning import dataset_table
from learning.captured import Selection, captured
from learning.dataset import build
from learning.dataset_spec import DatasetError, DatasetName, DatasetSpec, SplitRule
from learning.dataset_table import examples, snapshot
from learning.example import Rules
from learning.ledger import Ledger
from tests.learning.test_label_store import keep as keep_label
from tests.learning.test_label_store import label
from tests.support.chats import answer, chat, keep_chats, prose
from tests.support.records import keep

SPEC = DatasetSpec()


def rows(directory, version=1, name="d"):
    return list(examples(snapshot(directory, DatasetName(name, version))))


def test_captures_become_a_version(tmp_path):
    keep_chats(tmp_path, 60)
    seen = []
    report = build(tmp_path, "d", SPEC, progress=lambda *step: seen.append(step[0]))
    assert (report.id, report.n_rows, report.captures) == ("d@1", 60, 60)
    assert (report.overlap, report.is_new) == (0, True)
    assert sum(report.splits.values()) == 60
    found = rows(tmp_path)
    assert {example.target["content"] for example in found} == {f"answer {n}" for n in range(60)}
    assert {"reading", "comparing", "splitting", "writing"} <= set(seen)
    assert "# d@1" in (tmp_path / "datasets/d/1/card.md").read_text()
    with Ledger(tmp_path) as ledger:
        assert len(ledger.rows("select * from dataset_rows")) == 60
        assert ledger.row("select * from datasets")["content_sha256"] == report.content_sha256


def test_the_same_again_is_no_new_version(tmp_path):
    keep_chats(tmp_path, 20)
    first = build(tmp_path, "d", SPEC)
    again = build(tmp_path, "d", SPEC)
    assert (again.id, again.is_new, again.content_sha256) == ("d@1", False, first.content_sha256)
    assert not (tmp_path / "datasets/d/2").exists()


def test_the_same_captures_give_the_same_bytes_anywhere(tmp_path):
    records = keep_chats(tmp_path / "a", 30)
    keep(tmp_path / "b", list(reversed(records)))
    reports = [build(tmp_path / name, "d", SPEC) for name in "ab"]
    assert reports[0].content_sha256 == reports[1].content_sha256
    bytes_a, bytes_b = (
        snapshot(tmp_path / name, DatasetName("d", 1)).read_bytes() for name in "ab"
    )
    assert bytes_a == bytes_b


def test_what_was_a_test_row_stays_one(tmp_path):
    keep_chats(tmp_path, 100)
    build(tmp_path, "d", SPEC)
    tested = {example.id for example in rows(tmp_path) if example.split == "test"}
    keep(tmp_path, [chat(prose(f"more {n}")) for n in range(30)])
    other = DatasetSpec(split=SplitRule(salt="another", test=0.0))
    report = build(tmp_path, "d", other)
    assert report.id == "d@2"
    assert {e.id for e in rows(tmp_path, 2) if e.split == "test"} == tested
    assert report.excluded.get("was_train", 0) == 0


def test_what_is_left_out_is_counted(tmp_path):
    keep(
        tmp_path,
        [
            chat("a"), chat("a"), chat(prose(1)), chat(prose(2), answer("x", "length")),
            chat("b", status="error", complete=False), chat("c", api="embeddings"),
        ],
    )  # fmt: skip
    report = build(tmp_path, "d", SPEC)
    assert report.excluded == {
        "duplicate": 1, "failed": 1, "not_chat": 1, "truncated": 1,
    }  # fmt: skip
    (twice,) = [e for e in rows(tmp_path) if e.meta.get("count")]
    assert twice.meta["count"] == 2


def test_labels_are_the_targets(tmp_path):
    keep_chats(tmp_path, 5)
    first = next(captured(tmp_path))
    keep_label(tmp_path, label("l", "labelled", input_hash=bytes(first.input_hash)))
    report = build(tmp_path, "d", DatasetSpec(rules=Rules(labels="require")))
    assert (report.n_rows, report.excluded["unlabelled"]) == (1, 4)
    assert report.label_sources == {"teacher": 1}
    with Ledger(tmp_path) as ledger:
        assert ledger.row("select * from dataset_rows")["label_id"] == "l"


def test_personal_data_is_masked_before_it_is_written(tmp_path):
    keep(tmp_path, [chat("mail jane@example.com", "jane@example.com it is")])
    report = build(tmp_path, "d", SPEC)
    assert report.masked == {"EMAIL": 2}
    text = (tmp_path / "datasets/d/1/rows.jsonl").read_text()
    assert "jane" not in text
    assert rows(tmp_path)[0].target["content"] == "<EMAIL_1> it is"
    build(tmp_path, "open", DatasetSpec(redact=False))
    assert "jane" in (tmp_path / "datasets/open/1/rows.jsonl").read_text()


SYSTEM = {"role": "system", "content": prose("system", 300)}


def test_a_constant_prompt_makes_no_near_duplicates_and_can_be_left_out(tmp_path):
    keep(
        tmp_path,
        [chat([SYSTEM, {"role": "user", "content": f"Read {prose(n, 9)}"}], f"{n}")
         for n in range(40)],
    )  # fmt: skip
    report = build(tmp_path, "d", SPEC)
    assert (report.n_rows, report.groups) == (40, 40)
    pruned = build(tmp_path, "p", DatasetSpec(prune_prefix=True))
    assert pruned.tokens_pruned > 40 * 300
    found = rows(tmp_path, name="p")
    assert all(len(e.messages) == 1 for e in found)
    assert {e.meta["prefix"] for e in found} == {pruned.prefixes["extract"]["id"]}


def test_examples_too_long_go_whole(tmp_path):
    keep(tmp_path, [chat("short"), chat(prose(1, 500))])
    report = build(tmp_path, "d", DatasetSpec(tokens_max=100))
    assert (report.n_rows, report.excluded["over_length"]) == (1, 1)
    assert report.tokens["max"] < 100


def test_only_what_is_selected(tmp_path):
    keep_chats(tmp_path, 4)
    keep(tmp_path, [chat("x", route="other")])
    report = build(tmp_path, "d", DatasetSpec(Selection(where="route = 'other'")))
    assert report.n_rows == 1


def test_no_rows_make_no_version(tmp_path):
    keep(tmp_path, [chat("x", status="error", complete=False)])
    with pytest.raises(DatasetError, match="no rows for d; left out: failed 1"):
        build(tmp_path, "d", SPEC)
    assert list((tmp_path / "datasets/d").iterdir()) == []
    with Ledger(tmp_path) as ledger:
        assert ledger.rows("select * from datasets") == []


def test_a_build_that_breaks_off_leaves_nothing_that_looks_whole(tmp_path, monkeypatch):
    keep_chats(tmp_path, 20)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "card", full)
        with pytest.raises(OSError, match="No space"):
            build(tmp_path, "d", SPEC)
    assert list((tmp_path / "datasets/d").iterdir()) == []
    with monkeypatch.context() as patch:
        patch.setattr(dataset_table, "_table_rows", full)
        with pytest.raises(OSError, match="No space"):
            build(tmp_path, "d", SPEC)
    with Ledger(tmp_path) as ledger:
        assert ledger.rows("select * from datasets") == []
    assert build(tmp_path, "d", SPEC).id == "d@1"


def test_ten_megabyte_rows_images_and_odd_types_are_rows_or_counted(tmp_path):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    parts = [{"type": "text", "text": "What is it?"}, image]
    keep(
        tmp_path,
        [
            chat("x" * 10_000_000),
            chat([{"role": "user", "content": parts}]),
            chat("q", request=b'{"model": "m", "messages": [{"role": "user", "content": 5}]}'),
            chat("q", request=b'{"model": "m", "messages": [{"content": "no role"}]}'),
        ],
    )
    report = build(tmp_path, "d", SPEC)
    assert report.n_rows + sum(report.excluded.values()) == 4
    assert report.excluded["unreadable"] == 1


def test_many_builds_have_one_hash(tmp_path):
    keep_chats(tmp_path, 15)
    hashes = set()
    for _ in range(10):
        hashes.add(build(tmp_path, "d", SPEC).content_sha256)
        shutil.rmtree(tmp_path / "datasets")
        with Ledger(tmp_path) as ledger:
            ledger.run("delete from datasets")
            ledger.run("delete from dataset_rows")
    assert len(hashes) == 1


def test_a_row_has_no_null_and_no_empty_member(tmp_path):
    keep_chats(tmp_path, 3)
    build(tmp_path, "d", SPEC)
    for line in snapshot(tmp_path, DatasetName("d", 1)).read_bytes().splitlines():
        row = json.loads(line)
        assert not [key for key, value in row.items() if value in (None, "", [], {})]
        assert msgspec.json.decode(line)["id"]


def test_of_all_labels_a_person_s_counts_most_then_an_app_s_then_a_teacher_s(tmp_path):
    """human, feedback, teacher, shadow, and the answer as it was."""
    records = keep_chats(tmp_path, 5)
    hashes = {row.id: bytes(row.input_hash) for row in captured(tmp_path)}
    sources = ("human", "feedback", "teacher", "shadow")
    for place, record in enumerate(records[:4]):
        for source in sources[place:]:
            if source == "feedback":
                demonstrate(tmp_path, record.id, "feedback says")
            else:
                keep_label(
                    tmp_path,
                    label(f"{source} {place}", f"{source} says", source=source,
                          input_hash=hashes[record.id]),
                )  # fmt: skip
    report = build(tmp_path, "d", SPEC)
    assert report.label_sources == {**dict.fromkeys(sources, 1), "traffic": 1}
    found = {e.request_id: (e.label_source, e.target["content"]) for e in rows(tmp_path)}
    for record, source in zip(records, sources, strict=False):
        assert found[record.id] == (source, f"{source} says")


def demonstrate(directory, identifier, said):
    with Ledger(directory) as ledger:
        ledger.run(
            "insert into feedback(id, request_id, ts_us, name, demonstration, source)"
            " values (?,?,1,'fixed',?,'api')",
            (f"f {identifier}", identifier, said.encode()),
        )
