"""Bringing segments from the page cache to the disk, one pass at a time, in a thread."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .segment_file import SegmentFile
from .segment_writer import SegmentWriter


@dataclass(frozen=True, slots=True)
class SyncJob:
    """What one pass confirms: `sealed` segments are closed after it, `live` stays open.

    `sizes` are the frames' ends when the pass was asked for, `live` last.
    """

    sealed: tuple[SegmentFile, ...]
    live: SegmentFile | None
    sizes: tuple[int, ...]
    directory: Path | None
    """To be synced too: a segment was created since the last pass."""

    @property
    def segments(self) -> tuple[SegmentFile, ...]:
        """All of them, in the order of `sizes`."""
        return self.sealed if self.live is None else (*self.sealed, self.live)


def sync_files(job: SyncJob) -> None:
    """Confirm `job`. OSError also where the live segment was removed under its writer."""
    for segment in job.segments:
        os.fdatasync(segment.descriptor)
    if job.directory is not None:
        sync_directory(job.directory)
    if job.live is not None and job.live.is_unlinked():
        raise FileNotFoundError(f"{job.live.path} was removed while it was written")


def sync_directory(directory: Path) -> None:
    """Make names created, renamed or removed in `directory` durable. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Synchroniser:
    """Confirms what `writer` wrote; `finished(error)` is called on the loop after each pass.

    The segments of a failed pass are cut back to what earlier passes confirmed where
    `cuts_unconfirmed` (their frames are then written again), and left as they are otherwise.
    """

    def __init__(
        self,
        writer: SegmentWriter,
        loop: asyncio.AbstractEventLoop,
        finished: Callable[[OSError | None], None],
        *,
        cuts_unconfirmed: bool,
    ) -> None:
        self.is_running = False
        self._writer = writer
        self._loop = loop
        self._finished = finished
        self._cuts_unconfirmed = cuts_unconfirmed
        self._is_closed = False
        self._job: SyncJob | None = None
        self._pass: Future[OSError | None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal-sync")

    def start(self) -> None:
        """Begin a pass over all that is written now; none may be running."""
        self._job = job = self._take_job()
        self.is_running = True
        self._pass = self._thread.submit(_error_of, job)
        asyncio.wrap_future(self._pass, loop=self._loop).add_done_callback(self._on_done)

    def close(self) -> OSError | None:
        """Wait for a running pass, then confirm and close everything; blocks."""
        self._is_closed = True
        self._thread.shutdown(wait=True)
        earlier: tuple[SegmentFile, ...] = ()
        earlier_error = None
        if self._job is not None and self._pass is not None:
            earlier, earlier_error = self._job.sealed, self._pass.result()
        self._writer.seal()
        rest = self._take_job()
        job = SyncJob((*earlier, *rest.sealed), None, (), rest.directory)
        error = _error_of(job)
        for segment in job.sealed:
            segment.close()
        return earlier_error or error

    def _take_job(self) -> SyncJob:
        writer = self._writer
        sealed = writer.take_sealed()
        live = writer.live
        sizes = tuple(segment.size for segment in (*sealed, *((live,) if live else ())))
        directory = writer.directory if writer.is_directory_dirty else None
        writer.is_directory_dirty = False
        return SyncJob(sealed, live, sizes, directory)

    def _on_done(self, future: "asyncio.Future[OSError | None]") -> None:
        job = self._job
        if self._is_closed or job is None or future.cancelled():
            return
        error = future.result()
        self._job = None
        self.is_running = False
        if error is None:
            for segment, size in zip(job.segments, job.sizes, strict=True):
                segment.synced_size = size
        else:
            self._leave(job, error)
        for segment in job.sealed:
            segment.close()
        self._finished(error)

    def _leave(self, job: SyncJob, error: OSError) -> None:
        """No pass can confirm these segments any more: write to a new one."""
        self._writer.last_error = f"sync: {error}"
        self._writer.is_directory_dirty = True
        if self._cuts_unconfirmed:
            for segment in (*job.segments, *self._writer.sealed):
                segment.cut_back(segment.synced_size)
        if job.live is not None:
            self._writer.abandon(job.live)


def _error_of(job: SyncJob) -> OSError | None:
    try:
        sync_files(job)
    except OSError as error:
        return error
    return None
