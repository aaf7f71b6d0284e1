"""What the loop must not choke on, each told with its row and reason, run as a user runs it."""

import json
import os
import resource
import shutil
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from learning.ledger import Ledger
from telemetry.store import day_files
from tests.support.chats import answer, chat, keep_chats, prose
from tests.support.command import command, start_command
from tests.support.records import keep, make_record
from tests.support.simple_config import write_config
from tests.support.small_disk import fill, small_disk

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def built(config: Path, *words: str) -> dict:
    """The report of a build that made a version."""
    finished = command("dataset", "build", "d", "--json", *words, config=config)
    assert finished.code == 0, finished.errors
    return json.loads(finished.output)


def exported(config: Path, *words: str, format_name: str = "openai-chat") -> dict:
    output = config.parent / "out.jsonl"
    finished = command(
        "export", "--json", "--format", format_name, "--output", str(output), *words, config=config
    )
    assert finished.code == 0, finished.errors
    return json.loads(finished.output)


def told(report: dict, record, code: str) -> bool:
    """The report counts the row under `code` and names it."""
    return report["excluded"].get(code) == 1 and report["named"][code] == [record.id]


def both(tmp_path: Path, record, code: str) -> None:
    """One bad row among good ones: a build and an export leave it out, by name."""
    keep_chats(tmp_path / "data", 3)
    keep(tmp_path / "data", [record])
    config = write_config(tmp_path)
    report = built(config)
    assert report["n_rows"] == 3
    assert told(report, record, code)
    report = exported(config)
    assert report["rows"] == 3
    assert told(report, record, code)


def test_a_corrupt_body(tmp_path):
    record = chat("corrupted later")
    keep(tmp_path / "data", [record])
    ((_, path),) = day_files(tmp_path / "data")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("update bodies set data = cast(replace(data, 'later', 'LATER') as blob)")
    keep_chats(tmp_path / "data", 3)
    config = write_config(tmp_path)
    assert told(built(config), record, "damaged")
    assert told(exported(config), record, "damaged")


def test_a_day_file_that_is_no_database(tmp_path):
    keep_chats(tmp_path / "data", 3)
    damaged = tmp_path / "data" / "capture-2020-01-01.db"
    damaged.write_bytes(b"no database at all" * 999)
    report = built(write_config(tmp_path))
    assert (report["n_rows"], report["excluded"]) == (3, {"damaged": 1})
    assert report["named"] == {"damaged": [damaged.name]}


def test_a_capture_that_was_cut(tmp_path):
    both(tmp_path, chat("cut", status="upstream_cut", complete=False), "cut_stream")


def test_a_stream_without_its_end(tmp_path):
    chunk = {"choices": [{"index": 0, "delta": {"content": "12"}, "finish_reason": None}]}
    body = b"data: " + json.dumps(chunk).encode() + b"\n\n"
    both(tmp_path, chat("streamed", body, is_stream=True), "cut_stream")


def test_a_row_without_an_answer(tmp_path):
    both(tmp_path, chat("alone", answer(None)), "unreadable")


def test_an_answer_that_was_not_kept(tmp_path):
    both(tmp_path, make_record(capture="metadata"), "not_captured")


def test_tool_arguments_that_are_no_json(tmp_path):
    both(tmp_path, chat("call", answer(None, tool_calls=[CALL]), body={"tools": [TOOL]}),
         "tool_invalid")  # fmt: skip


def test_bytes_that_are_no_text(tmp_path):
    request = b'{"model": "m", "messages": [{"role": "user", "content": "\xff\xfe"}]}'
    both(tmp_path, chat("x", request=request), "unreadable")


def test_an_image_goes_where_it_can_and_is_told_where_it_cannot(tmp_path):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    asked = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}]
    record = chat(asked)
    keep(tmp_path / "data", [record, *(chat(prose(n), f"{n}") for n in range(3))])
    config = write_config(tmp_path)
    assert built(config, "--test", "0%", "--valid", "0%")["n_rows"] == 4
    assert exported(config, "--dataset", "d")["rows"] == 4
    report = exported(config, "--dataset", "d", format_name="trl-prompt-completion")
    assert report["rows"] == 3
    assert told(report, record, "images")


def test_columns_of_mixed_types_load_as_they_are(tmp_path):
    """Text here, parts there, a call elsewhere, and arguments of one name with two types."""
    import datasets

    datasets.disable_progress_bars()
    calls = [{**CALL, "id": f"c{n}", "function": {"name": "f", "arguments": json.dumps({"a": a})}}
             for n, a in enumerate((1, "one"))]  # fmt: skip
    keep(
        tmp_path / "data",
        [chat("plain"), chat([{"role": "user", "content": [{"type": "text", "text": "parts"}]}]),
         *(chat(f"call {n}", answer(None, tool_calls=[call]), body={"tools": [TOOL]})
           for n, call in enumerate(calls))],
    )  # fmt: skip
    config = write_config(tmp_path)
    assert built(config, "--test", "0%", "--valid", "0%")["n_rows"] == 4
    exported(config, "--dataset", "d", format_name="trl-prompt-completion")
    told = json.loads((tmp_path / "out.jsonl.features.json").read_text())
    found = datasets.load_dataset(
        "json", data_files=str(tmp_path / "out.jsonl"), cache_dir=str(tmp_path / "cache"),
        features=datasets.Features.from_dict(told),
    )["train"]  # fmt: skip
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [{k: v for k, v in row.items() if v is not None} for row in found] == written
    finished = command("export", "--dataset", "d", "--format", "parquet", "--output",
                       str(tmp_path / "folder"), config=config)  # fmt: skip
    assert finished.code == 0, finished.errors
    parquet = datasets.load_dataset(str(tmp_path / "folder"), cache_dir=str(tmp_path / "cache"))
    assert len(parquet["train"]) == 4


def test_rows_of_ten_megabytes(tmp_path):
    records = [chat(f"{n} " + "long " * 2_000_000) for n in range(3)]
    keep(tmp_path / "data", records)
    config = write_config(tmp_path)
    report = built(config, "--max-tokens", "5000000", "--test", "0%", "--valid", "0%")
    assert report["n_rows"] + report["excluded"].get("near_duplicate", 0) == 3
    assert exported(config)["rows"] == 3
    small = json.loads(
        command("dataset", "build", "small", "--json", "--max-tokens", "1000", config=config).output
        or "null"
    )
    assert small is None  # nothing left, and said so


def test_rows_of_an_imported_file_that_cannot_be_read(tmp_path):
    good = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    lines = [json.dumps(good).encode(), b'{"cut": ', b"\xff\xfe", b"[]", json.dumps(
        {"request": {"messages": []}}).encode()]  # fmt: skip
    file = tmp_path / "in.jsonl"
    file.write_bytes(b"\n".join(lines))
    finished = command("import", str(file), config=write_config(tmp_path))
    assert finished.code == 1
    for row in (2, 3, 4, 5):
        assert f"in.jsonl:{row}: " in finished.errors
    assert "1 rows imported as import:in.jsonl, 4 left out" in finished.output


# -- full disks and killed commands ------------------------------------------------------------


def test_a_disk_that_is_full_during_an_export(tmp_path):
    keep(tmp_path / "data", [chat(prose(n, 400)) for n in range(100)])
    config = write_config(tmp_path)
    with small_disk(tmp_path / "disk", 64) as disk:
        output = disk / "out.jsonl"
        output.write_text("before")
        words = ("export", "--format", "openai-chat", "--output", str(output))
        finished = command(*words, config=config)
        assert finished.code == 1
        assert "No space left on device" in finished.errors
        assert (output.read_text(), [p.name for p in disk.iterdir()]) == ("before", ["out.jsonl"])
    for format_name in ("openai-chat", "parquet"):
        with small_disk(tmp_path / f"disk-{format_name}", 16) as disk:
            fill(disk).write_bytes(b"x")
            words = ("export", "--format", format_name, "--output", str(disk / "out"))
            assert command(*words, config=config).code == 1
            assert [p.name for p in disk.iterdir()] == ["ballast"]


def test_a_disk_that_is_full_during_a_build(tmp_path):
    keep(tmp_path / "data", [chat(prose(n, 400)) for n in range(100)])
    with small_disk(tmp_path / "disk", 2048) as disk:
        shutil.copytree(tmp_path / "data", disk / "data")
        with Ledger(disk / "data"):
            pass
        config = write_config(disk)
        ballast = fill(disk)
        finished = command("dataset", "build", "d", config=config)
        assert finished.code == 1
        assert "is the disk full" in finished.errors
        assert "Traceback" not in finished.errors
        assert not list((disk / "data").glob("datasets/d/*"))
        with ballast.open("r+b") as file:  # room to begin, and none to end
            file.truncate(ballast.stat().st_size - 150_000)
        finished = command("dataset", "build", "d", config=config)
        assert finished.code == 1
        assert "No space left on device; nothing was made" in finished.errors
        assert not [p for p in (disk / "data").glob("datasets/d/*") if p.name != "build.lock"]
        ballast.unlink()
        assert built(config)["id"] == "d@1"


def killed_while(config: Path, words: tuple[str, ...], appears: str) -> None:
    """Kill a command with -9 at the moment something it makes is there."""
    process = start_command(*words, config=config)
    deadline_s = time.monotonic() + 60
    while not list(config.parent.glob(appears)):
        assert time.monotonic() < deadline_s, "it never began"
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_a_build_that_is_killed(tmp_path):
    keep(tmp_path / "data", [chat(prose(n, 60)) for n in range(1500)])
    config = write_config(tmp_path)
    killed_while(config, ("dataset", "build", "d"), "data/datasets/d/.*.part/*.rows")
    assert "d@1" not in command("dataset", "list", config=config).output
    report = built(config)
    assert (report["id"], report["n_rows"]) == ("d@1", 1500)
    folder = tmp_path / "data" / "datasets" / "d"
    assert [path.name for path in folder.iterdir()] == ["1"]
    assert not built(config)["is_new"]


def test_an_export_that_is_killed(tmp_path):
    keep(tmp_path / "data", [chat(prose(n, 60)) for n in range(1500)])
    config = write_config(tmp_path)
    output = tmp_path / "out.jsonl"
    words = ("export", "--format", "openai-chat", "--output", str(output))
    killed_while(config, words, ".out.jsonl.*.part")
    assert not output.exists()
    assert command(*words, config=config).code == 0
    assert len(output.read_bytes().splitlines()) == 1500
    assert not list(tmp_path.glob(".out.jsonl.*"))


def test_a_file_that_may_not_grow(tmp_path):
    """RLIMIT_FSIZE, as of a quota: the write fails half-way and nothing is left."""
    keep(tmp_path / "data", [chat(prose(n, 400)) for n in range(100)])
    config = write_config(tmp_path)
    exported(config)
    (tmp_path / "out.jsonl").unlink()
    process = start_command("export", "--format", "openai-chat", "--output",
                            str(tmp_path / "out.jsonl"), config=config)  # fmt: skip
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (50_000, 50_000))
    assert process.wait(60) != 0
    assert not list(tmp_path.glob("*out.jsonl*"))
