"""How much memory and processor time processes take, sampled while something happens."""

import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

EVERY_S = 0.02
CALM_S = 0.5


def resident_bytes(pid: int) -> int:
    """What a process holds in memory now; 0 for one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)


def processor_s(pid: int) -> float:
    """Processor time that a process has taken so far; 0 for one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_until_calm(pids: Iterable[int], *, share: float = 0.1, timeout_s: float = 60.0) -> None:
    """Until the processes together have taken less than `share` of half a second."""
    watched = tuple(pids)
    deadline_s = time.monotonic() + timeout_s
    while True:
        before = sum(map(processor_s, watched))
        time.sleep(CALM_S)
        if sum(map(processor_s, watched)) - before < share * CALM_S:
            return
        assert time.monotonic() < deadline_s, "no calm"


class Peaks:
    """The highest of each process while the block runs; `grown` is that less the start's."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._before = {pid: resident_bytes(pid) for pid in pids}
        self._peaks = dict(self._before)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join(5)

    def grown(self, pid: int) -> int:
        """Bytes that a process came to hold on top of what it held before."""
        return self._peaks[pid] - self._before[pid]

    def _watch(self) -> None:
        while not self._is_over.wait(EVERY_S):
            for pid, peak in self._peaks.items():
                self._peaks[pid] = max(peak, resident_bytes(pid))
