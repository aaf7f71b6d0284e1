from learning.dataset_report import DatasetReport
from learning.dataset_spec import DatasetName, DatasetSpec
from learning.dataset_table import examples, newest_version, register, snapshot, sweep
from learning.ledger import Ledger

ROW = (
    b'{"id":"%b","request_id":"r","messages":[{"role":"user","content":"q"}],'
    b'"target":{"role":"assistant","content":"a"},"group_key":"00ff","split":"test","tokens":7}\n'
)


def test_a_version_and_its_rows_are_registered(tmp_path):
    path = snapshot(tmp_path, DatasetName("d", 1))
    path.parent.mkdir(parents=True)
    path.write_bytes(ROW % (b"ab" * 32))
    report = DatasetReport("d@1", n_rows=1, excluded={"failed": 2})
    with Ledger(tmp_path) as ledger:
        assert newest_version(ledger, "d") == 0
        register(ledger, "d", 1, DatasetSpec(), report, path)
        assert newest_version(ledger, "d") == 1
        (row,) = ledger.rows("select * from dataset_rows")
        assert (row["request_id"], row["split"], row["n_tokens"]) == ("r", "test", 7)
        assert (bytes(row["group_key"]), row["label_id"]) == (b"\x00\xff", None)
        assert ledger.row("select * from exclusions")["n"] == 2
    (example,) = examples(path)
    assert example.target["content"] == "a"


def test_what_a_killed_build_left_is_removed_and_nothing_else(tmp_path):
    for name in (".2.part", "1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rows.jsonl").write_text("x")
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
