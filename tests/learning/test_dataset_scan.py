import json
import sqlite3
from contextlib import closing

from learning import images
from learning.dataset_plan import Plan, prefixes_of
from learning.dataset_scan import ScanJob, ShardFiles, scan
from learning.dataset_spec import DatasetSpec
from learning.dataset_split import Columns
from learning.example import Rules
from learning.ledger import Ledger
from learning.token_count import TokenCounter
from telemetry.store import day_files
from tests.support.chats import chat, prose
from tests.support.records import keep


class Scanned:
    """The whole store read as one range."""

    def __init__(self, directory, spec=None):
        spec = spec or DatasetSpec()
        plan = Plan(directory, spec.selection)
        prefixes = prefixes_of(directory, plan.look(), spec)
        job = ScanJob(str(directory), str(directory), spec, None, prefixes, plan.policies)
        (shard,) = plan.shards
        self.report = scan(job, shard, TokenCounter(), lambda read: None)
        self.files = ShardFiles(directory, 0)
        self.columns = Columns()
        with self.files.columns.open("rb") as file:
            self.columns.add_file(file)
        assert self.report.examples == len(self.columns)
        assert self.files.signatures.stat().st_size == len(self.columns) * 256


def test_a_column_and_a_line_for_each_example(tmp_path):
    keep(tmp_path, [chat(prose(n), conversation="c" if n < 2 else None) for n in range(5)])
    found = Scanned(tmp_path)
    assert len(found.columns) == 5
    assert found.files.rows.read_bytes().count(b"\n") == 5
    conversations = list(found.columns.conversation)
    assert conversations[0] == conversations[1] != 0
    assert conversations[2:] == [0, 0, 0]


def test_the_turns_of_a_chat_follow_from_each_other(tmp_path):
    first = [{"role": "user", "content": "hello"}]
    then = [*first, {"role": "assistant", "content": "hi"}, {"role": "user", "content": "more"}]
    keep(tmp_path, [chat(first, "hi"), chat(then, "sure")])
    found = Scanned(tmp_path)
    assert list(found.columns.earlier) == [found.columns.turn[0]]


def test_what_is_to_be_forgotten_is_left_out(tmp_path):
    record = chat("x")
    keep(tmp_path, [record, chat("y")])
    with Ledger(tmp_path) as ledger:
        ledger.run("insert into tombstones values (?, 'id', 1, null)", (record.id,))
    found = Scanned(tmp_path)
    assert (len(found.columns), found.report.excluded["tombstoned"]) == (1, 1)


def test_too_much_personal_data_is_left_out(tmp_path):
    keep(tmp_path, [chat(" ".join(f"u{n}@example.com" for n in range(1500)))])
    assert Scanned(tmp_path).report.excluded == {"pii_blocked": 1}


def test_a_row_that_begins_otherwise_is_not_pruned(tmp_path):
    system = {"role": "system", "content": prose("s", 200)}
    usual = [chat([system, {"role": "user", "content": prose(n)}]) for n in range(120)]
    keep(tmp_path, [*usual, chat(prose("stray"))])
    found = Scanned(tmp_path, DatasetSpec(prune_prefix=True))
    assert found.report.rows_unpruned == 1
    assert found.report.tokens_pruned > 0


def test_an_unlabelled_answer_of_an_earlier_policy_is_left_out(tmp_path):
    keep(
        tmp_path,
        [
            chat(prose(1), policy="old"), chat(prose(2), policy="new"),
            chat(prose(3), policy="old", route="other"), chat(prose(4), policy=None),
        ],
    )  # fmt: skip
    found = Scanned(tmp_path)
    assert (found.report.examples, found.report.excluded) == (3, {"stale_config": 1})
    allowed = Scanned(tmp_path, DatasetSpec(rules=Rules(allow=("stale_config",))))
    assert (allowed.report.examples, allowed.report.excluded) == (4, {})


def test_every_row_that_is_left_out_is_written_down_with_its_code(tmp_path):
    bad = [chat(f"q {n}", status="error", complete=False) for n in range(7)]
    keep(tmp_path, [chat("fine"), *bad])
    found = Scanned(tmp_path)
    written = [json.loads(line) for line in found.files.excluded.read_bytes().splitlines()]
    assert [row["request_id"] for row in written] == [record.id for record in bad]
    assert {row["code"] for row in written} == {"failed"}
    assert found.report.named == {"failed": [record.id for record in bad[:5]]}


def test_bytes_that_are_not_those_written_are_left_out(tmp_path):
    first, second = chat("one", "a"), chat("two", "b")
    keep(tmp_path, [first, second])
    ((_, path),) = day_files(tmp_path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("update bodies set data = cast(replace(data, 'two', 'twx') as blob)")
    found = Scanned(tmp_path)
    assert (found.report.excluded, found.report.named) == ({"damaged": 1}, {"damaged": [second.id]})


def test_an_image_by_its_address_is_left_out_or_fetched(tmp_path, monkeypatch):
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    keep(tmp_path, [chat([{"role": "user", "content": [image]}])])
    assert Scanned(tmp_path).report.excluded == {"image_remote": 1}
    monkeypatch.setattr(images, "_fetch", lambda address, private: b"\x89PNG")
    found = Scanned(tmp_path, DatasetSpec(fetch_images=True))
    assert found.report.examples == 1
    assert b"data:image/png;base64,iVBORw==" in found.files.rows.read_bytes()
