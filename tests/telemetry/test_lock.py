import os
import stat
import subprocess
import sys
import threading
import time

import pytest

from telemetry.errors import Locked
from telemetry.lock import DirectoryLock


def test_one_holder_at_a_time_and_its_pid_is_told(tmp_path):
    with DirectoryLock(tmp_path) as held:
        assert held.is_held
        with pytest.raises(Locked, match=str(os.getpid())) as caught:
            DirectoryLock(tmp_path).acquire()
        assert caught.value.holder == os.getpid()
    DirectoryLock(tmp_path).acquire()


def test_purposes_do_not_stand_in_each_others_way(tmp_path):
    with DirectoryLock(tmp_path, "fold"), DirectoryLock(tmp_path, "serve"):
        assert sorted(path.name for path in tmp_path.iterdir()) == ["fold.lock", "serve.lock"]


def test_waits_as_long_as_it_is_told(tmp_path):
    first = DirectoryLock(tmp_path)
    first.acquire()
    started = time.monotonic()
    with pytest.raises(Locked):
        DirectoryLock(tmp_path).acquire(0.1)
    assert time.monotonic() - started >= 0.1
    threading.Timer(0.1, first.release).start()
    DirectoryLock(tmp_path).acquire(5.0)


def test_goes_with_the_process_that_held_it(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from telemetry.lock import DirectoryLock;"
        "DirectoryLock(Path(sys.argv[1])).acquire(); lock = 1; print('held', flush=True);"
        "time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(Locked):
        DirectoryLock(tmp_path).acquire()
    holder.kill()
    holder.stdout.close()
    holder.wait()
    DirectoryLock(tmp_path).acquire()


def test_makes_a_directory_closed_to_others(tmp_path):
    DirectoryLock(tmp_path / "data").acquire()
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_says_whether_it_is_held(tmp_path):
    lock = DirectoryLock(tmp_path)
    assert repr(lock).endswith("free>")
    lock.acquire()
    assert repr(lock).endswith("held>")
    lock.release()
    lock.release()
