"""The first steps of a child process."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from proxy.child import ORPHANED, StopSignal, become_child, describe_failure


def run_child(work: Callable[[], None]) -> tuple[int, int]:
    """Fork, run, and give the pid and the wait status."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(99)
    return pid, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_child_whose_supervisor_is_already_gone_leaves(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    _, code = run_child(lambda: become_child("worker 0", supervisor_pid=1, life_read=read_end))
    assert code == ORPHANED
    os.close(read_end)
    os.close(write_end)


def test_the_end_of_the_life_pipe_ends_a_child() -> None:
    read_end, write_end = os.pipe()
    parent = os.getpid()

    def live() -> None:
        os.close(write_end)
        become_child("worker 0", supervisor_pid=parent, life_read=read_end)
        time.sleep(10)

    pid = os.fork()
    if pid == 0:
        try:
            live()
        finally:
            os._exit(99)
    os.close(read_end)
    os.close(write_end)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == ORPHANED


def test_a_childs_terminal_signals_are_the_supervisors_business() -> None:
    read_end, write_end = os.pipe()
    parent = os.getpid()

    def live() -> None:
        become_child("worker 0", supervisor_pid=parent, life_read=read_end)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            os.kill(os.getpid(), number)
        os._exit(0)

    assert run_child(live)[1] == 0
    os.close(read_end)
    os.close(write_end)


async def test_the_first_signal_asks_the_second_hurries() -> None:
    stop = StopSignal(asyncio.get_running_loop())
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(stop.asked.wait(), 5)
    assert not stop.now.is_set()
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(stop.now.wait(), 5)
    asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)


def test_a_failure_is_described_with_the_way_to_it() -> None:
    try:
        raise ValueError("what went wrong")
    except ValueError as error:
        described = describe_failure(error)
    assert described["error"] == "ValueError: what went wrong"
    assert "test_child.py" in str(described["at"])
