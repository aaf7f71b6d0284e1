import os
import subprocess
from hashlib import sha256

import pytest

from learning.export_file import ExportReport, LeftOut, Row, write_rows, written_aside


def test_rows_are_lines_and_the_rest_is_counted(tmp_path):
    output = tmp_path / "o"
    report = ExportReport(output, "x")
    write_rows(output, [Row(b"a"), LeftOut("bad", "r1"), Row(b"b", 2)], report)
    assert output.read_bytes() == b"a\nb\n"
    assert (report.rows, report.excluded) == (2, {"bad": 1, "choice_unused": 2})
    assert report.named == {"bad": ["r1"]}
    assert report.sha256 == sha256(b"a\nb\n").hexdigest()


def test_a_disk_that_fills_leaves_what_was_there(tmp_path):
    output = tmp_path / "o"
    output.write_bytes(b"before")

    def rows():
        yield Row(b"a")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_rows(output, rows(), ExportReport(output, "x"))
    assert output.read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 1


def test_progress_is_told_to_the_end(tmp_path):
    seen = []
    rows = [Row(b"x")] * 450
    write_rows(tmp_path / "o", rows, ExportReport(tmp_path / "o", "x"), seen.append)
    assert seen == [200, 400, 450]


def test_a_file_aside_takes_its_place_when_whole(tmp_path):
    with written_aside(tmp_path / "o") as file:
        file.write(b"x")
        assert not (tmp_path / "o").exists()
    assert (tmp_path / "o").read_bytes() == b"x"


def test_what_a_killed_process_left_is_removed_and_what_a_live_one_makes_is_not(tmp_path):
    output = tmp_path / "o[1].jsonl"
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = tmp_path / f".o[1].jsonl.{dead.pid}.part"
    alive = tmp_path / f".o[1].jsonl.{os.getppid()}.part"
    for path in (left, alive):
        path.write_bytes(b"half")
    with written_aside(output) as file:
        file.write(b"whole")
    assert output.read_bytes() == b"whole"
    assert not left.exists()
    assert alive.exists()
