"""The parent: owns the listening sockets, forks keeper and workers, restarts what dies.

It has no event loop and no threads, so that forking is safe and nothing in it can hang:

    wait for a signal, a child's word, or the moment of the next restart
    -> note it  -> start what is due  -> print the ready line once all have reported

SIGUSR2 starts the program anew in place (succession.py): new workers come beside the old ones,
and each old one drains when its heir is ready. The keeper, who alone folds, goes first, the
simulator last.

Stopping: the first SIGTERM or SIGINT lets workers finish what they serve (at most `drain_s`),
then the keeper folds the rest; the second makes everybody leave at once. Children die with us.
"""

import gc
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from types import FrameType

from setproctitle import setproctitle

from telemetry.logs import log

from .child import DRAIN_S, TITLE_PREFIX, become_child, describe_failure
from .handover import Handover
from .succession import REHEARSAL_S, SIGNALS, Relative, Succession

DRAIN_MARGIN_S = 2.0  # a worker ends its drain by itself; this much later it is killed
KEEPER_STOP_S = 15.0  # the last fold
HURRY_S = 2.0  # after the second signal
BACKOFF_FIRST_S = 0.05
BACKOFF_MAX_S = 2.0
HEALTHY_S = 10.0  # a child that lived this long starts again without delay
NEVER_READY_MAX = 6  # deaths before the first ready line; then the start has failed

Phase = Enum("Phase", ["RUNNING", "DRAINING", "CLOSING", "HURRYING"])


@dataclass(slots=True)
class Child:
    """One process to keep alive. `run` is called in the fork; what follows it is an exit."""

    name: str
    run: Callable[[], None]
    is_awaited: bool = True
    """The ready line waits for this one's word."""
    pid: int | None = None
    is_ready: bool = False
    deaths: int = 0
    deaths_in_a_row: int = 0
    started_s: float = 0.0
    delay_s: float = 0.0
    due_s: float | None = 0.0
    """When to start it (monotonic); None while it runs or is not wanted."""

    def note_death(self, now_s: float) -> None:
        """Plan the restart: at once the first time, with a growing delay if it keeps dying."""
        self.pid = None
        self.deaths += 1
        self.deaths_in_a_row += 1
        if now_s - self.started_s >= HEALTHY_S:
            self.deaths_in_a_row = 1
        repeats = self.deaths_in_a_row - 1
        self.delay_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** (repeats - 1)) if repeats else 0.0
        self.due_s = now_s + self.delay_s


@dataclass(slots=True)
class Retired:
    """A child that was replaced and may finish what it serves until `kill_s` (monotonic)."""

    name: str
    pid: int
    kill_s: float


@dataclass(slots=True)
class Supervisor:
    """`run` returns the process's exit code. `ready_line` is printed once everybody is up."""

    handover: Handover
    children: Sequence[Child]
    ready_line: str
    drain_s: float = DRAIN_S
    succession: Succession | None = None
    relatives: Sequence[Relative] = ()
    """Children of the image before this one."""
    _elders: dict[str, int] = field(default_factory=dict)
    """Those that serve on until their heir is ready."""
    _rehearsal: int | None = None
    _phase: Phase = Phase.RUNNING
    _deadline_s: float | None = None
    _is_ready: bool = False
    _exit_code: int = 0
    _words: bytes = b""
    _retired: list[Retired] = field(default_factory=list)

    def run(self) -> int:
        """Start all children and keep them until told to stop."""
        setproctitle(TITLE_PREFIX + "supervisor")
        signals = _install_signals()
        gc.collect()
        gc.freeze()  # what was imported is shared with the children; do not touch its pages
        os.set_blocking(self.handover.status_read, False)
        self._meet_relatives()
        with selectors.DefaultSelector() as selector:
            selector.register(signals, selectors.EVENT_READ)
            selector.register(self.handover.status_read, selectors.EVENT_READ)
            while not self._is_finished():
                self._start_due()
                for key, _ in selector.select(self._wait_s()):
                    if key.fd == signals:
                        self._on_signals(os.read(signals, 4096))
                    else:
                        self._on_words()
                self._enforce_deadlines()
        return self._exit_code

    # -- what happened ---------------------------------------------------------------------

    def _on_signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signal.SIGCHLD:
                self._reap()
            elif number == signal.SIGHUP:
                self._signal(["keeper"], signal.SIGHUP)
            elif number == signal.SIGUSR2:
                self._rehearse()
            else:
                self._stop(signal.Signals(number).name)

    def _on_words(self) -> None:
        self._words += os.read(self.handover.status_read, 4096)
        *lines, self._words = self._words.split(b"\n")
        for line in lines:
            name, _, word = line.decode().rpartition(" ")
            if word == "ready":
                self._mark_ready(name)
            elif word == "simulate":
                self._replace_simulator()

    def _mark_ready(self, name: str) -> None:
        for child in self.children:
            if child.name == name:
                child.is_ready = True
                self._retire(name)
        if not self._is_ready and all(c.is_ready for c in self.children if c.is_awaited):
            self._is_ready = True
            self._retire("simulator")
            with suppress(OSError, ValueError):  # nobody reads: no reason not to serve
                sys.stdout.write(self.ready_line + "\n")
                sys.stdout.flush()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._note_end(pid, os.waitstatus_to_exitcode(status))

    def _note_end(self, pid: int, code: int) -> None:
        self._retired = [retired for retired in self._retired if retired.pid != pid]
        self._bury(pid)
        if pid == self._rehearsal:
            self._rehearsal = None
            self._succeed(code)
            return
        if self._phase is not Phase.RUNNING:
            self._advance()
        for child in self.children:
            if child.pid != pid:
                continue
            child.note_death(time.monotonic())
            if self._phase is not Phase.RUNNING:
                child.due_s = None
                self._advance()
                return
            log(
                "child_died",
                level="warning",
                child=child.name,
                pid=pid,
                code=code,
                restart_in_s=child.delay_s,
            )
            if not self._is_ready and not self.relatives and child.deaths >= NEVER_READY_MAX:
                log("start_failed", level="error", child=child.name)
                self._exit_code = 1
                self._stop("start failed")

    # -- what to do about it ---------------------------------------------------------------

    def _start_due(self) -> None:
        now_s = time.monotonic()
        for child in self.children:
            if child.due_s is not None and child.due_s <= now_s:
                self._start(child, now_s)

    def _start(self, child: Child, now_s: float) -> None:
        child.due_s = None
        child.is_ready = child.is_ready and self._is_ready
        child.started_s = now_s
        supervisor_pid = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        # Until the child has its own handlers, a signal to it would wake us by the shared pipe.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        pid = os.fork()
        if pid == 0:
            self._live_as(child, supervisor_pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        child.pid = pid

    def _live_as(self, child: Child, supervisor_pid: int) -> None:
        """In the fork: never returns, whatever `child.run` does."""
        code = 1
        try:
            become_child(
                child.name, supervisor_pid=supervisor_pid, life_read=self.handover.life_read
            )
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            child.run()
            code = 0
        except BaseException as error:  # noqa: BLE001 (the last frame: report, whatever it is)
            log("child_failed", level="error", child=child.name, **describe_failure(error))
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _replace_simulator(self) -> None:
        """Start a simulator with the profiles now in force; the old one finishes its answers."""
        for child in self.children:
            if child.name != "simulator" or self._phase is not Phase.RUNNING:
                continue
            if child.pid is not None:
                os.kill(child.pid, signal.SIGTERM)
                kill_s = time.monotonic() + self.drain_s
                self._retired.append(Retired(child.name, child.pid, kill_s))
            child.pid, child.deaths_in_a_row, child.due_s = None, 0, 0.0

    def _stop(self, reason: str) -> None:
        now_s = time.monotonic()
        log("stopping", reason=reason, phase=self._phase.name)
        if self._phase is Phase.RUNNING:
            self._phase = Phase.DRAINING
            self._deadline_s = now_s + self.drain_s + DRAIN_MARGIN_S
            for child in self.children:
                child.due_s = None
            for name in tuple(self._elders):
                self._retire(name)
            self.handover.stop_listening()
            self._signal(["keeper"], signal.SIGUSR1)
            self._signal(self._worker_names(), signal.SIGTERM)
            self._advance()
        elif self._phase is not Phase.HURRYING:
            self._phase = Phase.HURRYING
            self._deadline_s = now_s + HURRY_S
            self._signal([child.name for child in self.children], signal.SIGTERM)
            for retired in self._retired:
                os.kill(retired.pid, signal.SIGTERM)
                retired.kill_s = self._deadline_s

    def _advance(self) -> None:
        """Once the last worker has left, the keeper folds what they wrote and leaves too."""
        is_served = bool(self._running(self._worker_names()) or self._retired)
        if self._phase is Phase.DRAINING and not is_served:
            self._phase = Phase.CLOSING
            self._deadline_s = time.monotonic() + KEEPER_STOP_S
            self._signal(["keeper", "simulator"], signal.SIGTERM)

    def _enforce_deadlines(self) -> None:
        now_s = time.monotonic()
        for retired in self._retired:
            if retired.kill_s <= now_s:
                os.kill(retired.pid, signal.SIGKILL)
                retired.kill_s = float("inf")
        if self._deadline_s is None or now_s < self._deadline_s:
            return
        late = self._worker_names() if self._phase is Phase.DRAINING else None
        for child in self._running(late):
            log("killed_late", level="error", child=child.name, phase=self._phase.name)
            self._exit_code = 1
        self._signal([child.name for child in self._running(late)], signal.SIGKILL)
        self._deadline_s = now_s + HURRY_S

    # -- succession ------------------------------------------------------------------------

    def _rehearse(self) -> None:
        """Before anything is given up: would the new program start?"""
        is_settled = self._is_ready and not self._elders and self._rehearsal is None
        if self.succession is None or self._phase is not Phase.RUNNING or not is_settled:
            log("restart_refused", level="warning", reason="a start or a stop is under way")
            return
        self._rehearsal = self.succession.rehearse()
        kill_s = time.monotonic() + REHEARSAL_S
        self._retired.append(Retired("rehearsal", self._rehearsal, kill_s))

    def _succeed(self, code: int) -> None:
        """After the rehearsal: become the new program, unless it would not start."""
        if code != 0 or self._phase is not Phase.RUNNING or self.succession is None:
            log("restart_refused", level="error", reason="the rehearsal failed", code=code)
            return
        living = [Relative(child.name, child.pid) for child in self._running(None) if child.pid]
        leaving = [Relative(one.name, one.pid, one.kill_s) for one in self._retired]
        log("restarting", children=len(living), leaving=len(leaving))
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            self.succession.succeed([*living, *leaving])
        except OSError as error:
            log("restart_refused", level="error", reason=str(error))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _meet_relatives(self) -> None:
        """Workers serve until their heirs do; who must be alone leaves now."""
        for one in self.relatives:
            if one.kill_s is not None:
                self._retired.append(Retired(one.name, one.pid, one.kill_s))
            else:
                self._elders[one.name] = one.pid
        for child in self.children:
            if child.name == "keeper" and "keeper" in self._elders:
                child.due_s = None  # two must not fold: when the old one is gone
        self._retire("keeper")

    def _retire(self, name: str) -> None:
        """The old one has an heir: let it finish what it serves."""
        pid = self._elders.pop(name, None)
        if pid is None:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        grace_s = KEEPER_STOP_S if name == "keeper" else self.drain_s + DRAIN_MARGIN_S
        self._retired.append(Retired(name, pid, time.monotonic() + grace_s))

    def _bury(self, pid: int) -> None:
        """An old one is gone: forget it, and start the keeper that waited for its place."""
        self._elders = {name: one for name, one in self._elders.items() if one != pid}
        is_keeper = any(one.name == "keeper" and one.pid == pid for one in self.relatives)
        if is_keeper and self._phase is Phase.RUNNING:
            for child in self.children:
                if child.name == "keeper" and child.pid is None:
                    child.due_s = 0.0

    # -- small questions -------------------------------------------------------------------

    def _is_finished(self) -> bool:
        is_alone = not self._running(None) and not self._retired
        return self._phase is not Phase.RUNNING and is_alone

    def _wait_s(self) -> float | None:
        moments = [child.due_s for child in self.children if child.due_s is not None]
        moments += [retired.kill_s for retired in self._retired]
        if self._deadline_s is not None:
            moments.append(self._deadline_s)
        if not moments or min(moments) == float("inf"):
            return None
        return max(0.0, min(moments) - time.monotonic())

    def _worker_names(self) -> list[str]:
        return [child.name for child in self.children if child.name.startswith("worker")]

    def _running(self, names: Sequence[str] | None) -> list[Child]:
        return [
            child
            for child in self.children
            if child.pid is not None and (names is None or child.name in names)
        ]

    def _signal(self, names: Sequence[str], number: signal.Signals) -> None:
        for child in self._running(names):
            if child.pid is not None:
                os.kill(child.pid, number)


def _install_signals() -> int:
    """Turn signals into bytes on a pipe; returns the end to read."""
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    os.set_blocking(write_end, False)

    def wake(_number: int, _frame: FrameType | None) -> None:
        """The byte on the pipe is the news."""

    for number in SIGNALS:
        signal.signal(number, wake)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # held back during a succession
    return read_end
