"""Where frames go: the live segment, the ones left behind, and what to do when the disk refuses.

No loop, no callbacks: `write` says how many frames are wholly kept, and leaves the files so
that a reader finds exactly those.
"""

import errno
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from .frames import FORMAT_VERSION, MAGIC, OVERHEAD_BYTES, Kind, SegmentHeader
from .ids import new_id
from .segment_file import BUFFERS_MAX, SegmentFile

SEGMENT_BYTES_MAX: Final = 64 << 20
RETRY_S: Final = 0.1  # a refusing disk is asked again this often: well under the second promised
_CHUNK_FRAMES: Final = BUFFERS_MAX // 2
_TRIES: Final = 2  # the second in a new segment
_FULL: Final = frozenset((errno.ENOSPC, errno.EDQUOT))  # a new segment would not help


class FrameContent(Protocol):
    """What becomes one frame."""

    @property
    def kind(self) -> Kind: ...
    @property
    def payload(self) -> bytes: ...


class SegmentWriter:
    """Appends to the live segment of one worker, making new ones as needed.

    `sealed` holds segments left behind but not yet closed, so that a sync can confirm them
    first; whoever confirms them empties the list with `take_sealed`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        node: str,
        worker: int,
        clock_s: Callable[[], float] = time.monotonic,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
    ) -> None:
        self.directory = directory
        self.live: SegmentFile | None = None
        self.sealed: list[SegmentFile] = []
        self.is_directory_dirty = False
        self.segments = 0
        self.errors = 0
        self.last_error: str | None = None
        self._node = node
        self._worker = worker
        self._writer = new_id()
        self._clock_s = clock_s
        self._segment_bytes_max = segment_bytes_max
        self._retry_at_s: float | None = None

    def __repr__(self) -> str:
        live = self.live.path.name if self.live else None
        return f"<SegmentWriter live={live} sealed={len(self.sealed)} error={self.last_error!r}>"

    @property
    def is_unsynced(self) -> bool:
        """Something was written that no sync has confirmed."""
        live = self.live
        return bool(self.sealed) or (live is not None and live.size > live.synced_size)

    @property
    def is_resting(self) -> bool:
        """The last try failed a moment ago; `write` keeps nothing before the next is due."""
        return self._retry_at_s is not None and self._clock_s() < self._retry_at_s

    def write(self, frames: Sequence[FrameContent]) -> int:
        """Append `frames` in order; how many of them are whole on disk (a prefix)."""
        if self.is_resting:
            return 0
        kept = 0
        for _ in range(_TRIES):
            segment = self.live or self._create()
            if segment is None:
                break
            kept = self._write_to(segment, frames, kept)
            if kept == len(frames):
                self._retry_at_s = None
                if segment.size >= self._segment_bytes_max:
                    self.seal()
                    self._create()  # a folder must not see this writer without a segment
                return kept
            if self.live is segment:
                break
        self._retry_at_s = self._clock_s() + RETRY_S
        return kept

    def seal(self) -> None:
        """Leave the live segment; the next write makes a new one."""
        if self.live is not None:
            self.sealed.append(self.live)
            self.live = None

    def open(self) -> None:
        """Make a segment now, so that a directory that cannot be used shows at the start."""
        if self.live is None and self._create() is None:
            self._retry_at_s = self._clock_s() + RETRY_S

    def take_sealed(self) -> tuple[SegmentFile, ...]:
        """The segments left behind; from here on their taker closes them."""
        taken, self.sealed = tuple(self.sealed), []
        return taken

    def abandon(self, segment: SegmentFile) -> None:
        """Close `segment`, live or sealed, without waiting for a sync that cannot work."""
        if segment is self.live:
            self.live = None
        elif segment in self.sealed:
            self.sealed.remove(segment)
        segment.close()

    def note(self, error: OSError, doing: str) -> None:
        """Count an error and keep its words."""
        self.errors += 1
        self.last_error = f"{doing}: {error}"

    def _create(self) -> SegmentFile | None:
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.live = SegmentFile.create(
                self.directory,
                f"{new_id()}.w{self._worker}",
                header=SegmentHeader(
                    MAGIC,
                    FORMAT_VERSION,
                    self._node,
                    self._worker,
                    self._writer,
                    time.time_ns() // 1000,
                ),
            )
        except OSError as error:
            self.note(error, "create segment")
            return None
        self.segments += 1
        self.is_directory_dirty = True
        return self.live

    def _write_to(self, segment: SegmentFile, frames: Sequence[FrameContent], kept: int) -> int:
        """Write `frames[kept:]`; how many of `frames` are whole then."""
        while kept < len(frames):
            chunk = frames[kept : kept + _CHUNK_FRAMES]
            whole = self._write_chunk(segment, chunk)
            kept += whole
            if whole < len(chunk):
                break
        return kept

    def _write_chunk(self, segment: SegmentFile, chunk: Sequence[FrameContent]) -> int:
        head = segment.frames.head
        sequence = segment.frames.sequence
        buffers: list[bytes] = []
        length = 0
        for content in chunk:
            payload = content.payload
            buffers += (head(content.kind, payload), payload)
            length += OVERHEAD_BYTES + len(payload)
        error = segment.write(buffers, length)
        if error is None:
            segment.size += length
            return len(chunk)
        self.note(error, "write")
        whole = self._save_whole(segment, chunk, is_full=error.errno in _FULL)
        segment.frames.sequence = sequence + whole
        return whole

    def _save_whole(
        self, segment: SegmentFile, chunk: Sequence[FrameContent], *, is_full: bool
    ) -> int:
        """After a failed write: keep the whole frames, remove the torn one."""
        whole = 0
        end = segment.size
        on_disk = segment.bytes_on_disk()
        for content in chunk:
            following = end + OVERHEAD_BYTES + len(content.payload)
            if following > on_disk:
                break
            end = following
            whole += 1
        is_cut = segment.cut_back(end)
        if not is_cut:
            segment.size = end
        if not (is_cut and is_full):
            self.seal()
        return whole
