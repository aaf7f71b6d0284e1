"""Reading the journal: which segments there are, whether one is sealed, what is in it.

Reading never changes a segment. A live one may be read while it is written: an unfinished
frame at its end is simply not there yet.
"""

import fcntl
import os
import re
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from .frames import (
    FORMAT_VERSION,
    MAGIC,
    SEGMENT_SUFFIX,
    Damage,
    Frame,
    Kind,
    Scan,
    SegmentHeader,
    keys_of,
    scan,
)
from .ids import milliseconds_of

READ_BYTES: Final = 1 << 20  # about 400 records of 2.5 KB, one transaction; 4 MiB is slower (cache)
UNNAMED_SUFFIX: Final = ".new"

_WORKER: Final = re.compile(r"\.w(\d+)\.")


def list_segments(journal: Path) -> list[Path]:
    """Segments in the folder, oldest first (their names are ids)."""
    if not journal.is_dir():
        return []
    return sorted(path for path in journal.iterdir() if path.suffix == SEGMENT_SUFFIX)


def created_us_of(path: Path) -> int:
    """When the segment was made, by its name; 0 where that tells no time."""
    return (milliseconds_of(path.name[:36]) or 0) * 1000


def worker_of(path: Path) -> int:
    """The worker that wrote the segment, by its name; -1 where that tells none."""
    match = _WORKER.search(path.name)
    return int(match[1]) if match else -1


class SegmentReader:
    """An open segment; a context manager. FileNotFoundError where it is gone already."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._keys = keys_of(path.name)
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def size(self) -> int:
        """Bytes in the file now."""
        return os.fstat(self._descriptor).st_size

    def is_sealed(self) -> bool:
        """Its writer has left it or is dead: nothing will be added.

        Ask before `size`, or frames written in between are taken for the end.
        """
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return True

    def header(self) -> SegmentHeader | None:
        """Who wrote it; None where the header is damaged or of no version we know."""
        first = self._scan(os.pread(self._descriptor, 4096, 0), 0, 0, is_all=True, is_sealed=False)
        if not first.found or not isinstance(first.found[0], Frame):
            return None
        return read_header(first.found[0])

    def read(
        self,
        start: int,
        next_sequence: int,
        *,
        size: int,
        is_sealed: bool,
        read_bytes: int = READ_BYTES,
    ) -> Scan:
        """Frames and damage from `start`, about `read_bytes` of them, none beyond `size`."""
        wanted = read_bytes
        while True:
            length = min(wanted, size - start)
            data = self._pread(length, start)
            is_all = start + len(data) >= size or len(data) < length
            result = self._scan(data, start, next_sequence, is_all=is_all, is_sealed=is_sealed)
            if is_all or result.consumed > start:
                return result
            wanted = max(2 * wanted, result.wanted)

    def _scan(
        self, data: bytes, start: int, next_sequence: int, *, is_all: bool, is_sealed: bool
    ) -> Scan:
        return scan(
            data,
            self._keys,
            base=start,
            next_sequence=next_sequence,
            is_all=is_all,
            is_sealed=is_sealed,
        )

    def _pread(self, length: int, start: int) -> bytes:
        data = os.pread(self._descriptor, length, start)
        while 0 < len(data) < length:  # a read may be short
            more = os.pread(self._descriptor, length - len(data), start + len(data))
            if not more:
                break
            data += more
        return data


def read_header(frame: Frame) -> SegmentHeader | None:
    """The header in the first frame, or None where it is not one we can read."""
    if frame.kind != Kind.HEADER:
        return None
    try:
        header = msgspec.msgpack.decode(frame.payload, type=SegmentHeader)
    except msgspec.MsgspecError:
        return None
    if header.magic != MAGIC or header.version > FORMAT_VERSION:
        return None
    return header


def describe(damage: Damage, segment: str) -> str:
    """One line about damage, for people."""
    lost = f", {damage.frames_lost} lost" if damage.frames_lost else ""
    return f"{segment}: {damage.reason} at byte {damage.offset} to {damage.end}{lost}"
