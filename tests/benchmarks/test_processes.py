"""What /proc says of processes, and that children end."""

import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks import processes


def test_cpu_time_grows_with_work_and_not_with_waiting() -> None:
    start = processes.cpu_us(os.getpid())
    time.sleep(0.05)
    slept = processes.cpu_us(os.getpid()) - start
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    worked = processes.cpu_us(os.getpid()) - start - slept
    assert worked >= 40_000
    assert slept < worked


def test_a_process_that_is_gone_has_used_nothing() -> None:
    assert processes.cpu_us(2**22 + 1) == 0.0


def test_memory_is_resident_and_shared_fairly() -> None:
    memory = processes.memory(os.getpid())
    assert 1.0 < memory.pss_mb <= memory.rss_mb


@pytest.mark.parametrize(
    ("title", "role"),
    [
        ("pointsman: worker 0", "worker"),
        ("pointsman: keeper", "keeper"),
        ("nginx: worker process", "worker"),
        ("nginx: master process nginx -p /tmp", "master"),
        ("/usr/bin/python3 -m something", "other"),
        ("", "other"),
    ],
)
def test_roles_are_read_from_titles(title: str, role: str) -> None:
    assert processes.role(title) == role


def test_a_child_is_in_the_tree_and_ends_with_its_block(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(60)"]
    with processes.running(command, output=tmp_path / "out") as child:
        line = processes.wait_for_line(child, tmp_path / "out", starts="here", timeout_s=10)
        assert line == "here"
        assert child.pid in processes.tree(os.getpid())
    assert child.returncode is not None
    assert child.pid not in processes.tree(os.getpid())


def test_a_child_that_ends_early_is_reported_with_its_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such luck')"]
    with (
        processes.running(command, output=tmp_path / "out") as child,
        pytest.raises(RuntimeError, match=r"ended with 1.*no such luck"),
    ):
        processes.wait_for_line(child, tmp_path / "out", starts="ready", timeout_s=10)
