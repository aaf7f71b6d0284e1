"""The first steps of every child: its title, its signals, and dying when the supervisor does."""

import asyncio
import ctypes
import os
import signal
import threading
import traceback

from setproctitle import setproctitle

TITLE_PREFIX = "pointsman: "
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
DRAIN_S = 30.0  # streams finish within this after the first SIGTERM (FAULTS section 1)
FRAMES_MAX = 12
ORPHANED = 70  # exit code EX_SOFTWARE: the supervisor was gone


def become_child(title: str, *, supervisor_pid: int, life_read: int) -> None:
    """Set the title, ignore the terminal's signals, tie this process to the supervisor.

    The kernel kills us when the supervisor ends (Linux); the pipe's end of file is the same
    news everywhere else, and covers a supervisor that died before the first was in place.
    """
    setproctitle(TITLE_PREFIX + title)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    _die_with_parent()
    if os.getppid() != supervisor_pid:
        os._exit(ORPHANED)
    threading.Thread(
        target=_exit_at_end_of_file, args=(life_read,), name="life", daemon=True
    ).start()


def describe_failure(error: BaseException) -> dict[str, object]:
    """An unexpected error as fields of one log line: what, and the way to it."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:]
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return {"error": f"{type(error).__name__}: {error}", "at": places}


class StopSignal:
    """SIGTERM in a loop's words: `asked` after the first, `now` after the second."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.asked = asyncio.Event()
        self.now = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, self._on_signal)

    def _on_signal(self) -> None:
        if self.asked.is_set():
            self.now.set()
        self.asked.set()


def _die_with_parent() -> None:
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _exit_at_end_of_file(life_read: int) -> None:
    os.read(life_read, 1)
    os._exit(ORPHANED)
