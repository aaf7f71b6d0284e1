"""What can go wrong with the memory.

PointsmanError
└── StoreError             the journal or the store; says which file and what to do
    ├── Locked             another process folds or serves this directory
    ├── FoldTimeout        a running fold did not get far enough in time
    └── StoreTooNew        written by a later version than this one
"""

from pointsman.errors import PointsmanError


class StoreError(PointsmanError):
    """Root of the room's errors."""


class Locked(StoreError):
    """The directory is in use; `holder` is the process id written in the lock, if any."""

    def __init__(self, message: str, holder: int | None = None) -> None:
        super().__init__(message)
        self.holder = holder


class FoldTimeout(StoreError):
    """Whoever holds the lock did not fold what was there when we asked."""


class StoreTooNew(StoreError):
    """The file's schema is newer than this program; refusing is safer than guessing."""
