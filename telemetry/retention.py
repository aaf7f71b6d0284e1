"""`keep:`: whole day files go, the newest request in them being older than that.

Run by whoever folds, in the same thread: the folder notices that a file is gone and makes a new
one should a record of that day still come.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from .store import SIDE_SUFFIXES, day_files
from .sync import sync_directory


def drop_expired(directory: Path, *, keep_s: float, now_s: float) -> list[Path]:
    """Remove the files of days that ended more than `keep_s` ago; which they were."""
    oldest = datetime.fromtimestamp(now_s - keep_s, UTC)
    expired = [path for day, path in day_files(directory) if _end_of(day) <= oldest]
    for path in expired:
        path.unlink(missing_ok=True)
        for suffix in SIDE_SUFFIXES:
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    if expired:
        sync_directory(directory)
    return expired


def _end_of(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=1)
