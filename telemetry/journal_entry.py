"""What waits in a journal, and what became of everything handed over, as types."""

from collections.abc import Callable

import msgspec

from .frames import Kind

Release = Callable[[bool], None]


class JournalCounters(msgspec.Struct):
    """What became of everything handed over, since this writer started."""

    written: int = 0
    """Request records on disk."""
    dropped: int = 0
    """Answered though not kept (`fail_open`)."""
    refused: int = 0
    """Neither kept nor answered (`fail_closed`)."""
    parts_dropped: int = 0
    events_dropped: int = 0
    bytes_written: int = 0
    queue_bytes: int = 0
    segments: int = 0
    write_errors: int = 0
    sync_errors: int = 0
    last_error: str | None = None


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One frame to be; `owner` is the id of the request it belongs to."""

    kind: Kind
    payload: bytes
    release: Release | None = None
    owner: str | None = None
