"""The learned state beside the fold: whoever folds a record also learns from it, once.

The keeper does so all the time; a command that folds because nobody else does, once. A record
is never folded again, so what the folder's holder does not learn nobody learns any more.
"""

import time
from pathlib import Path

from policies.learned import Learned
from telemetry.catch_up import ensure_folded
from telemetry.fold import Folder
from telemetry.record import RequestRecord

from .observing import observations


class Teaching:
    """The learned state of one folder's holder; for one thread."""

    def __init__(self) -> None:
        self.learned = Learned()
        self.is_unsaved = False

    def observe(self, record: RequestRecord) -> None:
        """Learn from a record that is safe in the store."""
        for observation in observations(record):
            self.learned.observe(observation, record.ts_us / 1e6)
            self.is_unsaved = True

    def load(self, folder: Folder) -> None:
        """Go on from what was learned before. Raises ValueError where it cannot be read."""
        data = folder.load_learned()
        if data is not None:
            self.learned = Learned.from_bytes(data)

    def save(self, folder: Folder) -> bytes:
        """Keep it; returns what was kept."""
        data = self.learned.to_bytes(time.time())
        folder.save_learned(data)
        self.is_unsaved = False
        return data


def catch_up(directory: Path) -> None:
    """For commands: return once the store has all that was answered before. Raises FoldTimeout."""
    ensure_folded(directory, fold=fold_and_learn)


def fold_and_learn(directory: Path) -> None:
    """Fold everything there is and learn from it. Raises Locked."""
    teaching = Teaching()
    folder = Folder(directory, observer=teaching.observe)
    try:
        teaching.load(folder)
        folder.fold_all()
        if teaching.is_unsaved:
            teaching.save(folder)
    finally:
        folder.close()
