"""Room set aside on the disk, so that a server can be started when there is no other.

A start writes a few small files (locks, the configuration in force, who runs). With
`on_error: fail_open` a full disk costs records, not service; a restart must not need more. So a
running server keeps a file of RESERVE_BYTES and a start on a full disk takes it away first.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

RESERVE_FILE: Final = "reserve"
RESERVE_BYTES: Final = 1 << 20
"""Far more than those files are; what is left goes to the first records."""


def give_room(directory: Path) -> bool:
    """Before a start: remove the reserve if the disk has less than that. Whether it did."""
    path = directory / RESERVE_FILE
    if _free_bytes(directory) >= RESERVE_BYTES or not path.exists():
        return False
    with suppress(OSError):
        path.unlink()
    return True


def keep_room(directory: Path) -> None:
    """Once started: set the reserve aside, where that leaves others plenty."""
    path = directory / RESERVE_FILE
    if path.exists() or _free_bytes(directory) < 8 * RESERVE_BYTES:
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return
    try:
        os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
    except OSError:  # half a reserve is none
        with suppress(OSError):
            path.unlink()
    finally:
        os.close(descriptor)


def _free_bytes(directory: Path) -> int:
    """For this user; 0 where it cannot be told."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize
