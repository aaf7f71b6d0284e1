"""Processes as /proc shows them: CPU by role, memory; and starting and ending children of ours.

CPU is the scheduler's run time (first number of schedstat, ns), summed over the threads of a
process: ticks of 10 ms would hide what a request costs.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

Answer = TypeVar("Answer")

PROC = Path("/proc")
STOP_TIMEOUT_S = 20.0
ROLES = ("worker", "keeper", "supervisor", "simulator", "master")


class Memory(msgspec.Struct, frozen=True):
    """Resident memory in MB (10^6 bytes); PSS splits shared pages among their users."""

    rss_mb: float
    pss_mb: float


def cpu_us(pid: int) -> float:
    """CPU time all living threads of a process have had, in us; 0 once it is gone."""
    total_ns = 0
    for task in _list(PROC / str(pid) / "task"):
        try:
            total_ns += int((task / "schedstat").read_text().split()[0])
        except (OSError, IndexError):
            continue  # the thread ended meanwhile
    return total_ns / 1e3


def memory(pid: int) -> Memory:
    """Raises OSError when the process is gone."""
    kilobytes = {"Rss": 0, "Pss": 0}
    for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in kilobytes:
            kilobytes[name] = int(rest.split()[0])
    return Memory(rss_mb=kilobytes["Rss"] * 1024 / 1e6, pss_mb=kilobytes["Pss"] * 1024 / 1e6)


def parents() -> dict[int, int]:
    """The parent of every process there is."""
    found = {}
    for entry in _list(PROC):
        if not entry.name.isdigit():
            continue
        try:
            after_name = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found[int(entry.name)] = int(after_name[1])
    return found


def tree(root: int) -> list[int]:
    """A process and all its descendants."""
    of = parents()
    found = [root]
    for pid in found:
        found.extend(child for child, parent in of.items() if parent == pid)
    return found


def title(pid: int) -> str:
    """The command line, which a process may have set to its title."""
    try:
        raw = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ""
    return raw.replace(b"\0", b" ").decode(errors="replace").strip()


def role(process_title: str) -> str:
    """The first word after `name:` where it is a known role, else `other`."""
    words = process_title.partition(": ")[2].split()
    return words[0] if words and words[0] in ROLES else "other"


def cpu_by_role(root: int) -> dict[str, float]:
    """CPU us of a process tree, summed by role."""
    total: dict[str, float] = {}
    for pid in tree(root):
        name = role(title(pid))
        total[name] = total.get(name, 0.0) + cpu_us(pid)
    return total


def pids_by_role(root: int, name: str) -> list[int]:
    """The processes of one role in a tree."""
    return [pid for pid in tree(root) if role(title(pid)) == name]


def pinned(command: list[str], core: int | None) -> list[str]:
    """The command held to one core (util-linux taskset), or as it is for None."""
    if core is None or shutil.which("taskset") is None:
        return command
    return ["taskset", "--cpu-list", str(core), *command]


@contextmanager
def running(
    command: list[str], *, output: Path, directory: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a child with its output in a file; ends it (SIGTERM, later SIGKILL) on the way out."""
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # it would time the compiler, not the start
    with output.open("wb") as file:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=environment,
        )
    try:
        yield child
    finally:
        stop(child)


def stop(child: subprocess.Popen[bytes]) -> None:
    """Ends one child of ours."""
    if child.poll() is not None:
        return
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        print(f"process {child.pid} did not end within {STOP_TIMEOUT_S:.0f} s: killed")
        child.kill()
        child.wait()


def wait_for_line(
    child: subprocess.Popen[bytes], output: Path, *, starts: str, timeout_s: float
) -> str:
    """The first line of a child's output with that beginning.

    Raises RuntimeError with the end of the output when the child ends or is too slow.
    """

    def look() -> str | None:
        lines = output.read_text(errors="replace").splitlines(keepends=True)
        return next((line for line in lines if line.startswith(starts) and line[-1] == "\n"), None)

    line = poll(look, timeout_s=timeout_s, while_alive=child)
    if line is None:
        shown = output.read_text(errors="replace").strip()[-800:]
        state = "too slow" if child.poll() is None else f"ended with {child.returncode}"
        raise RuntimeError(f"no line {starts!r}: {state}; its output ends: {shown or '(nothing)'}")
    return line.strip()


def poll(
    look: Callable[[], Answer | None],
    *,
    timeout_s: float,
    every_s: float = 0.001,
    while_alive: subprocess.Popen[bytes] | None = None,
) -> Answer | None:
    """Asks until there is an answer; None when time or the child is over."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if (answer := look()) is not None:
            return answer
        if while_alive is not None and while_alive.poll() is not None:
            return look()
        time.sleep(every_s)
    return None


def allowed_cores() -> list[int]:
    """The cores this process may run on, in order."""
    return sorted(os.sched_getaffinity(0))


def _list(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []
