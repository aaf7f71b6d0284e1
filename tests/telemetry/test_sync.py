import asyncio
import os
import time

import pytest

from telemetry.segment_writer import SegmentWriter
from telemetry.sync import Synchroniser, sync_directory
from tests.telemetry.test_segment_writer import contents


def make(directory, finished, *, cuts=False):
    writer = SegmentWriter(directory, node="here", worker=0)
    loop = asyncio.get_running_loop()
    return writer, Synchroniser(writer, loop, finished, cuts_unconfirmed=cuts)


async def until(condition):
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)


async def test_a_pass_confirms_what_was_written_before_it_and_closes_what_was_left(tmp_path):
    results = []
    writer, sync = make(tmp_path, results.append)
    writer.write(contents(3))
    left = writer.live
    writer.seal()
    writer.write(contents(2))
    sync.start()
    written = writer.live.size
    await until(lambda: results)
    assert results == [None]
    assert writer.live.synced_size == written
    assert not writer.is_unsynced
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(left.descriptor)
    assert sync.close() is None


async def test_a_failed_pass_cuts_what_it_did_not_confirm_where_asked_to(tmp_path, monkeypatch):
    results = []
    writer, sync = make(tmp_path, results.append, cuts=True)
    writer.write(contents(3))
    sync.start()
    await until(lambda: len(results) == 1)
    confirmed = writer.live.size
    path = writer.live.path

    def fail(descriptor):
        raise OSError(5, "Input/output error")

    writer.write(contents(2))
    monkeypatch.setattr(os, "fdatasync", fail)
    sync.start()
    await until(lambda: len(results) == 2)
    monkeypatch.undo()
    assert isinstance(results[1], OSError)
    assert path.stat().st_size == confirmed
    assert writer.live is None
    assert sync.close() is None


async def test_closing_while_a_pass_runs_reports_its_error(tmp_path, monkeypatch):
    failures = iter([True])
    real = os.fdatasync

    def fail_slowly_once(descriptor):
        if next(failures, False):
            time.sleep(0.1)
            raise OSError(5, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", fail_slowly_once)
    results = []
    writer, sync = make(tmp_path, results.append)
    writer.write(contents(1))
    sync.start()
    assert isinstance(sync.close(), OSError)
    await asyncio.sleep(0.02)
    assert results == []


def test_a_directory_can_be_synced(tmp_path):
    sync_directory(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_directory(tmp_path / "missing")
