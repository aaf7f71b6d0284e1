"""`running.json`: who serves a data directory, for `doctor` and for tidying after a kill -9."""

import os
from pathlib import Path

import msgspec

from .handover import Handover
from .keys import write_private

FILE_NAME = "running.json"
WORKERS_MAX = 64


class Running(msgspec.Struct, frozen=True):
    """One supervisor, its addresses as bound."""

    pid: int
    listen: str
    admin: str
    workers: int
    control: str
    """Path of the control socket."""


def write_running(handover: Handover) -> None:
    """Say that this process serves the directory."""
    running = Running(
        pid=os.getpid(),
        listen=str(handover.listen_address),
        admin=str(handover.admin_address),
        workers=len(handover.worker_sockets),
        control=str(handover.control_path),
    )
    write_private(handover.directory / FILE_NAME, msgspec.json.encode(running))


def read_running(directory: Path) -> Running | None:
    """Who last served this directory and did not say goodbye; it may be dead."""
    try:
        return msgspec.json.decode((directory / FILE_NAME).read_bytes(), type=Running)
    except (OSError, msgspec.MsgspecError):
        return None


def forget_running(directory: Path) -> None:
    """Say goodbye."""
    (directory / FILE_NAME).unlink(missing_ok=True)


def auto_workers() -> int:
    """One per usable core: the data plane is bound by the processor."""
    return min(WORKERS_MAX, len(os.sched_getaffinity(0)))
