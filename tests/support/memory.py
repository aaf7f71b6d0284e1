"""How much memory processes hold, sampled while something happens."""

import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

EVERY_S = 0.02


def resident_bytes(pid: int) -> int:
    """What a process holds in memory now; 0 for one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)


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
