"""One lock a purpose and directory: `fold` for whoever folds, `serve` for a running service,
`build` for whoever makes or rewrites data sets.

`flock`, so the kernel lets go with the process that held it, however it died.
"""

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from .errors import Locked
from .store import prepare_directory

Purpose = Literal["fold", "serve", "build"]

_POLL_S = 0.02


class DirectoryLock:
    """Held from `acquire` to `release` or the process's end; also a context manager."""

    def __init__(self, directory: Path, purpose: Purpose = "fold") -> None:
        self.path = directory / f"{purpose}.lock"
        self._directory = directory
        self._descriptor: int | None = None

    def __repr__(self) -> str:
        return f"<DirectoryLock {self.path} {'held' if self.is_held else 'free'}>"

    @property
    def is_held(self) -> bool:
        """By this object."""
        return self._descriptor is not None

    def acquire(self, timeout_s: float = 0.0) -> None:
        """Take the lock, waiting up to `timeout_s`. Raises Locked with the holder's pid."""
        prepare_directory(self._directory)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline_s = time.monotonic() + timeout_s
        while not _try(descriptor):
            if time.monotonic() >= deadline_s:
                holder = _holder(descriptor)
                os.close(descriptor)
                raise Locked(f"{self.path} is held by process {holder or 'unknown'}", holder)
            time.sleep(_POLL_S)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    @property
    def descriptor(self) -> int:
        """Of the lock's file, for who takes over. Only while it is held."""
        assert self._descriptor is not None
        return self._descriptor

    def take_over(self, descriptor: int) -> None:
        """Hold what the image before this one held; the kernel never let go of it."""
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go; nothing happens where it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        if not self.is_held:
            self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    return int(text) if text.isdigit() else None
