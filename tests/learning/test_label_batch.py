import json

import msgspec
import pytest

from learning.label import label
from learning.label_batch import abandon_batches, read_batch, write_batch
from learning.ledger import Ledger
from tests.learning.test_label import labels, plan


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def result(row, content="7", **changes):
    choice = {"index": 0, "message": {"role": "assistant", "content": content},
              "finish_reason": "stop"}  # fmt: skip
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    body = {"model": "gpt-4-0613", "choices": [choice], "usage": usage}
    answer = {"status_code": 200, "body": body}
    return {"custom_id": row["custom_id"], "response": answer, "error": None, **changes}


def write(path, *rows):
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return path


@pytest.fixture
def out(tmp_path):
    """A batch of three questions, written; (plan, rows, budget row)."""
    wanted = plan(tmp_path, 3)
    report, count = write_batch(tmp_path / "data", wanted, tmp_path / "b.jsonl", discount=0.5)
    assert (count, report.left) == (3, 0)
    return wanted, lines(tmp_path / "b.jsonl")


def budget(tmp_path):
    with Ledger(tmp_path / "data") as ledger:
        row = ledger.row("select * from budgets")
        return row["reserved_micro"], row["spent_micro"]


def test_a_line_is_a_request_of_the_providers(out):
    _, rows = out
    assert len({row["custom_id"] for row in rows}) == 3
    assert all(row["url"] == "/v1/chat/completions" for row in rows)
    assert rows[0]["body"]["model"] == "gpt-4"
    assert rows[0]["body"]["max_completion_tokens"] == 1024
    assert all(len(row["custom_id"]) == 64 for row in rows)


def test_results_come_in_any_order_and_in_parts(tmp_path, out):
    wanted, rows = out
    file = write(tmp_path / "r.jsonl", result(rows[2]), result(rows[0]))
    report = read_batch(tmp_path / "data", wanted, file, discount=0.5)
    assert (report.labelled, report.waiting) == (2, 1)
    assert report.spent_usd == pytest.approx(2 * 0.5 * (10 * 30 + 5 * 60) / 1e6)
    assert {row["model"] for row in labels(tmp_path)} == {"gpt-4-0613"}
    again = read_batch(tmp_path / "data", wanted, file, discount=0.5)
    assert (again.labelled, again.unknown, again.spent_usd) == (0, 2, report.spent_usd)


def test_what_is_in_an_open_batch_is_not_asked_again(tmp_path, out):
    wanted, _ = out
    assert label(tmp_path / "data", wanted).waiting == 3
    _, count = write_batch(tmp_path / "data", wanted, tmp_path / "c.jsonl", discount=0.5)
    assert count == 0
    assert budget(tmp_path)[0] > 0


def test_an_error_row_frees_its_money_and_is_asked_again(tmp_path, out):
    wanted, rows = out
    before = budget(tmp_path)[0]
    file = write(
        tmp_path / "r.jsonl",
        result(rows[0], response=None, error={"code": "expired"}),
        result(rows[1], response={"status_code": 429, "body": {}}),
    )
    report = read_batch(tmp_path / "data", wanted, file, discount=0.5)
    assert report.failed == {"error": 1, "status_429": 1}
    assert budget(tmp_path)[0] < before / 2
    _, count = write_batch(tmp_path / "data", wanted, tmp_path / "c.jsonl", discount=0.5)
    assert count == 2


def test_bad_lines_are_named(tmp_path, out):
    wanted, rows = out
    unreadable = result(rows[0], response={"status_code": 200, "body": {"x": 1}})
    file = write(tmp_path / "r.jsonl", "{", "", {"custom_id": 5}, unreadable, {"custom_id": "no"})
    report = read_batch(tmp_path / "data", wanted, file, discount=0.5)
    assert [fault.row for fault in report.bad] == [1, 3, 4]
    assert (report.unknown, report.waiting) == (1, 3)


def test_a_batch_given_up_is_asked_again(tmp_path, out):
    wanted, _ = out
    assert abandon_batches(tmp_path / "data", wanted) == 3
    assert budget(tmp_path) == (0, 0)
    assert label(tmp_path / "data", wanted).labelled == 3


def test_a_batch_ends_where_the_budget_does(tmp_path):
    wanted = plan(tmp_path, 5, budget_usd=0.08)
    report, count = write_batch(tmp_path / "data", wanted, tmp_path / "b.jsonl", discount=0.5)
    assert (count, report.left) == (2, 3)
    assert budget(tmp_path)[0] <= 80_000


def test_a_file_that_cannot_be_written_leaves_nothing_open(tmp_path):
    wanted = plan(tmp_path, 2)
    with pytest.raises(OSError):  # noqa: PT011 - which one is the system's choice
        write_batch(tmp_path / "data", wanted, tmp_path / "none" / "b.jsonl", discount=0.5)
    assert label(tmp_path / "data", msgspec.structs.replace(wanted)).waiting == 0
