import errno
import os
import shutil
import signal
import subprocess
import sys

import pytest

from learning import dataset_plan, dataset_shards
from learning.dataset_plan import Plan
from learning.dataset_scan import ScanJob, ShardFiles
from learning.dataset_shards import scan_all
from learning.dataset_spec import DatasetError, DatasetSpec
from learning.token_count import TokenCounter
from tests.support.chats import chat, keep_chats
from tests.support.records import keep

NAMES = ("rows", "columns", "signatures", "excluded")


@pytest.fixture
def two_processes(monkeypatch):
    """Four ranges, two of them at once, of a store that one process would read."""
    monkeypatch.setattr(dataset_plan, "SHARD_ROWS", 10)
    monkeypatch.setattr(dataset_shards, "ALONE_ROWS", 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})


def planned(directory, folder):
    folder.mkdir(exist_ok=True)
    spec = DatasetSpec()
    plan = Plan(directory, spec.selection)
    plan.look()
    return ScanJob(str(directory), str(folder), spec, policies=plan.policies), plan.shards


def scanned(job, shards):
    seen = []
    reports = list(scan_all(job, shards, TokenCounter(), seen.append))
    assert seen[-1] == sum(report.captures for report in reports)
    return reports


def files_of(folder, shards):
    paths = [getattr(ShardFiles(folder, shard.number), name) for shard in shards for name in NAMES]
    return [path.read_bytes() for path in paths]


def test_two_processes_read_what_one_reads(tmp_path, two_processes, monkeypatch):
    keep_chats(tmp_path, 35)
    keep(tmp_path, [chat("x", status="error", complete=False)])
    job, shards = planned(tmp_path, tmp_path / "two")
    found = scanned(job, shards)
    monkeypatch.setattr(dataset_shards, "ALONE_ROWS", 1000)
    alone, _ = planned(tmp_path, tmp_path / "one")
    assert scanned(alone, shards) == found
    assert [report.number for report in found] == [0, 1, 2, 3]
    assert files_of(tmp_path / "one", shards) == files_of(tmp_path / "two", shards)


def test_what_the_system_refuses_a_process_is_told(tmp_path, two_processes):
    keep_chats(tmp_path, 35)
    job, shards = planned(tmp_path, tmp_path / "gone")
    shutil.rmtree(tmp_path / "gone")
    with pytest.raises(OSError, match="No such file") as caught:
        scanned(job, shards)
    assert caught.value.errno == errno.ENOENT


def test_a_process_that_dies_is_told(tmp_path, two_processes, monkeypatch):
    keep_chats(tmp_path, 35)
    job, shards = planned(tmp_path, tmp_path / "f")
    real = subprocess.Popen

    def killed(*words, **options):
        process = real(*words, **options)
        process.send_signal(signal.SIGKILL)
        return process

    monkeypatch.setattr(subprocess, "Popen", killed)
    with pytest.raises(DatasetError, match="ended early"):
        scanned(job, shards)


def test_a_process_ends_with_its_input():
    process = subprocess.Popen(
        [sys.executable, "-m", "learning.dataset_shards"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    job = dataset_shards._encode(ScanJob("/nowhere", "/nowhere", DatasetSpec()))
    output, _ = process.communicate(job + b"\n", timeout=30)
    assert (process.returncode, output) == (0, b"")
