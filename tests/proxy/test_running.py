"""Who serves a directory."""

import os
import stat
from pathlib import Path

from proxy.handover import prepare
from proxy.listening import Address
from proxy.running import (
    FILE_NAME,
    auto_workers,
    forget_running,
    read_running,
    write_running,
)

ANYWHERE = Address("127.0.0.1", 0)


def test_says_who_serves_until_it_says_goodbye(tmp_path: Path) -> None:
    handover = prepare(tmp_path, listen=ANYWHERE, admin=ANYWHERE, workers=2)
    write_running(handover)
    running = read_running(tmp_path)
    assert running is not None
    assert (running.pid, running.workers) == (os.getpid(), 2)
    assert running.listen == str(handover.listen_address)
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600
    forget_running(tmp_path)
    forget_running(tmp_path)
    assert read_running(tmp_path) is None
    handover.close()


def test_nonsense_is_nobody(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("nonsense")
    assert read_running(tmp_path) is None


def test_auto_is_one_worker_a_usable_core() -> None:
    assert auto_workers() == len(os.sched_getaffinity(0))
