from learning.dataset_scan import Scan
from learning.dataset_spec import DatasetSpec
from learning.ledger import Ledger
from learning.near import Signatures
from learning.token_count import TokenCounter
from tests.support.chats import chat, prose
from tests.support.records import keep


def scan(directory, spec=None):
    found = Scan(directory, spec or DatasetSpec(), TokenCounter())
    with Signatures(directory / "s") as signatures, (directory / "c").open("wb") as file:
        found.run(file, signatures, lambda done, total: None)
        assert signatures.count == len(found.columns)
    return found


def test_a_column_and_a_line_for_each_example(tmp_path):
    keep(tmp_path, [chat(prose(n), conversation="c" if n < 2 else None) for n in range(5)])
    found = scan(tmp_path)
    assert len(found.columns) == 5
    assert (tmp_path / "c").read_bytes().count(b"\n") == 5
    conversations = list(found.columns.conversation)
    assert conversations[0] == conversations[1] != 0
    assert conversations[2:] == [0, 0, 0]


def test_the_turns_of_a_chat_follow_from_each_other(tmp_path):
    first = [{"role": "user", "content": "hello"}]
    then = [*first, {"role": "assistant", "content": "hi"}, {"role": "user", "content": "more"}]
    keep(tmp_path, [chat(first, "hi"), chat(then, "sure")])
    found = scan(tmp_path)
    assert list(found.columns.earlier) == [found.columns.turn[0]]


def test_what_is_to_be_forgotten_is_left_out(tmp_path):
    record = chat("x")
    keep(tmp_path, [record, chat("y")])
    with Ledger(tmp_path) as ledger:
        ledger.run("insert into tombstones values (?, 'id', 1, null)", (record.id,))
    found = scan(tmp_path)
    assert (len(found.columns), found.excluded["tombstoned"]) == (1, 1)


def test_too_much_personal_data_is_left_out(tmp_path):
    keep(tmp_path, [chat(" ".join(f"u{n}@example.com" for n in range(1500)))])
    assert scan(tmp_path).excluded == {"pii_blocked": 1}


def test_a_row_that_begins_otherwise_is_not_pruned(tmp_path):
    system = {"role": "system", "content": prose("s", 200)}
    usual = [chat([system, {"role": "user", "content": prose(n)}]) for n in range(120)]
    keep(tmp_path, [*usual, chat(prose("stray"))])
    found = scan(tmp_path, DatasetSpec(prune_prefix=True))
    assert found.rows_unpruned == 1
    assert found.tokens_pruned > 0
