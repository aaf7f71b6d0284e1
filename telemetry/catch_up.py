"""For commands: see everything that was answered before they began.

Whoever holds the fold lock folds. Where nobody does, the command does it itself; where a keeper
runs, the command waits until the keeper's fold has passed what the journal held at the start.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from .errors import FoldTimeout, Locked
from .fold import Folder
from .learning_store import folded_bytes
from .segment_file import JOURNAL_FOLDER
from .segments import list_segments

CATCH_UP_S: Final = 60.0
_POLL_S: Final = 0.05


def fold_all(directory: Path) -> None:
    """Fold everything there is. Raises Locked."""
    folder = Folder(directory)
    try:
        folder.fold_all()
    finally:
        folder.close()


def ensure_folded(
    directory: Path,
    timeout_s: float = CATCH_UP_S,
    *,
    fold: Callable[[Path], None] = fold_all,
) -> None:
    """Return once the store has every record that was in the journal when this was called.

    `fold` does it where nobody else does, and raises Locked where somebody does. Raises FoldTimeout
    where the lock's holder does not get there in time.
    """
    journal = directory / JOURNAL_FOLDER
    wanted = _sizes(journal)
    if not wanted:
        return
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            fold(directory)
        except Locked as locked:
            holder = locked.holder
        else:
            return
        if _is_behind(directory, wanted):
            return
        if time.monotonic() >= deadline_s:
            raise FoldTimeout(
                f"process {holder} holds {directory} and has not folded its journal within"
                f" {timeout_s:g} s; is it stopped, or is the disk full?"
            )
        time.sleep(_POLL_S)


def _sizes(journal: Path) -> dict[str, int]:
    """Segments and how much they hold now."""
    sizes = {}
    for path in list_segments(journal):
        try:
            sizes[path.name] = path.stat().st_size
        except FileNotFoundError:  # folded just now
            continue
    return sizes


def _is_behind(directory: Path, wanted: dict[str, int]) -> bool:
    """Every segment in `wanted` is gone or folded that far (a cut-back one: as far as it goes)."""
    sizes = _sizes(directory / JOURNAL_FOLDER)
    done = folded_bytes(directory)
    return all(
        segment not in sizes or done.get(segment, 0) >= min(size, sizes[segment])
        for segment, size in wanted.items()
    )
