"""What became of everything handed to a journal."""

import msgspec


class JournalCounters(msgspec.Struct):
    """Since this writer started."""

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
