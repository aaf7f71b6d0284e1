"""`pointsman serve`: how many workers. What it then does is in tests/proxy/test_serving.py."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from proxy.cli.serve import Workers
from proxy.running import WORKERS_MAX
from tests.support.simple_config import SIMPLE, write_config


def test_auto_is_one_a_core_and_a_number_is_that() -> None:
    assert Workers().convert("auto", None, None) == len(os.sched_getaffinity(0))
    assert Workers().convert("3", None, None) == 3


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", "", str(WORKERS_MAX + 1), "²"])
def test_anything_else_is_wrong_usage(value: str) -> None:
    with pytest.raises(click.BadParameter):
        Workers().convert(value, None, None)


def test_a_directory_that_cannot_be_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config = write_config(tmp_path, SIMPLE + "capture: {directory: file/data}\n")
    finished = subprocess.run(
        [sys.executable, "-m", "proxy.cli", "serve", "--config", str(config)],
        cwd=Path(__file__).resolve().parents[3],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert finished.returncode == 1
    assert "Not a directory" in finished.stderr
    assert "Traceback" not in finished.stderr
