import json
import os
import time

import pytest

from learning import import_pairs as module
from learning.export import export
from telemetry.errors import StoreError
from telemetry.fold import Folder
from telemetry.queries import captures
from tests.support.records import REQUEST, RESPONSE, fold, keep, make_record


def row(text="Payoff?", answer="1250.10", **members):
    return {
        "messages": [
            {"role": "user", "content": text},
            {"role": "assistant", "content": answer},
        ],
        **members,
    }


def write_rows(path, *rows):
    path.write_bytes(
        b"".join((r if isinstance(r, bytes) else json.dumps(r).encode()) + b"\n" for r in rows)
    )
    return path


def import_file(directory, file, **options):
    """Import and fold."""
    report = module.import_file(directory, file, **options)
    fold(directory)
    return report


def test_rows_become_captures(tmp_path):
    file = write_rows(tmp_path / "in.jsonl", row("a"), b"", row("b"))
    os.utime(file, (1_000_000, 1_000_000))
    report = import_file(tmp_path / "data", file, source="old")
    assert (report.rows, report.bad) == (2, 0)
    found = list(captures(tmp_path / "data", bodies=True))
    assert [capture["source"] for capture in found] == ["old", "old"]
    assert {capture["ts"][:10] for capture in found} == {"1970-01-12"}
    assert {json.loads(c["request"])["messages"][0]["content"] for c in found} == {"a", "b"}


def test_a_row_imported_twice_is_kept_once(tmp_path):
    file = write_rows(tmp_path / "in.jsonl", row("a"), row("b"))
    for _ in range(2):
        import_file(tmp_path / "data", file, source="old")
    assert len(list(captures(tmp_path / "data"))) == 2


def test_bad_rows_are_named_and_the_others_imported(tmp_path):
    file = write_rows(tmp_path / "in.jsonl", b"{", row("a"), b'{"request": "\xff"}', row("b"))
    report = import_file(tmp_path / "data", file, source="old")
    assert (report.rows, report.bad) == (2, 2)
    assert [fault.row for fault in report.faults] == [1, 3]
    assert "UTF-8" in report.faults[1].reason


def test_faults_beyond_the_first_hundred_are_counted(tmp_path):
    file = write_rows(tmp_path / "in.jsonl", *[b"{"] * 150)
    report = import_file(tmp_path / "data", file, source="old")
    assert (report.bad, len(report.faults)) == (150, 100)


def test_a_line_too_long_is_passed_over(tmp_path, monkeypatch):
    file = write_rows(tmp_path / "in.jsonl", row("x" * 5000), row("a"))
    monkeypatch.setattr(module.lines, "__defaults__", (4096,))
    report = import_file(tmp_path / "data", file, source="old")
    assert (report.rows, [fault.row for fault in report.faults]) == (1, [1])


def test_a_ten_megabyte_row_is_a_row(tmp_path):
    file = write_rows(tmp_path / "in.jsonl", row("x" * 10_000_000), row("b"))
    assert import_file(tmp_path / "data", file, source="old").rows == 2
    assert len(list(captures(tmp_path / "data"))) == 2


def test_what_one_store_exports_another_imports(tmp_path):
    keep(tmp_path / "a", [make_record(), make_record(response=b'{"x": \n 1}')])
    output = tmp_path / "raw.jsonl"
    export(tmp_path / "a", output, format_name="jsonl-raw")
    assert import_file(tmp_path / "b", output, source="a").bad == 0
    kept = ("id", "ts", "request_sha256", "response_sha256", "cost_usd", "labels", "task",
            "total_ms", "prompt_tokens")  # fmt: skip
    before, after = (
        [{key: c[key] for key in kept} for c in captures(tmp_path / name)] for name in "ab"
    )
    assert before == after


def test_a_running_keeper_folds_what_is_imported(tmp_path):
    file = write_rows(tmp_path / "in.jsonl", row("a"))
    keeper = Folder(tmp_path / "data")
    try:
        module.import_file(tmp_path / "data", file, source="old")
        assert keeper.fold_all().records == 1
    finally:
        keeper.close()


def test_a_full_disk_stops_it_and_says_which_row(tmp_path, monkeypatch):
    file = write_rows(tmp_path / "in.jsonl", row("a"), row("b"))
    monkeypatch.setattr("telemetry.segment_writer.SegmentWriter.write", lambda self, frames: 0)
    with pytest.raises(StoreError, match=r"row 1 could not be kept: .*; run the import again"):
        module.import_file(tmp_path / "data", file, source="old")


def test_ten_thousand_rows_take_seconds(tmp_path):
    request, response = json.loads(REQUEST), json.loads(RESPONSE)
    rows = [{"request": request, "response": response, "task": f"t{n}"} for n in range(10_000)]
    file = write_rows(tmp_path / "in.jsonl", *rows)
    seen = []
    started_s = time.perf_counter()
    report = import_file(
        tmp_path / "data", file, source="old", progress=lambda done, total: seen.append(done)
    )
    assert report.rows == 10_000
    assert seen == sorted(seen)
    assert time.perf_counter() - started_s < 60
