"""Records that the journal has and the store has not yet: looked for by a piece of their bytes.

For a question about one request that was answered a moment ago, or while the fold lags behind or
its disk is full. Usually a few frames; at most SEARCH_BYTES_MAX, newest segments first.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from .frames import Frame, Kind
from .learning_store import folded_bytes
from .record import RequestRecord
from .segment_file import JOURNAL_FOLDER
from .segments import SegmentReader, list_segments

SEARCH_BYTES_MAX: Final = 256 << 20
"""About 100,000 records of 2.5 KB: what a keeper that was away for a minute finds."""

_decode_record: Final = msgspec.msgpack.Decoder(RequestRecord).decode


def unfolded_records(directory: Path, piece: bytes) -> Iterator[RequestRecord]:
    """Records not folded yet whose payload holds `piece`; the caller looks where it stands.

    One that is folded meanwhile may be missing here: look into the store again behind this.
    """
    done = folded_bytes(directory)
    left = SEARCH_BYTES_MAX
    for path in reversed(list_segments(directory / JOURNAL_FOLDER)):
        with suppress(FileNotFoundError), SegmentReader(path) as reader:  # gone: folded just now
            start = done.get(path.name, 0)
            size = min(reader.size(), start + left)
            left -= max(0, size - start)
            for payload in _payloads(reader, start, size):
                if piece in payload:
                    with suppress(msgspec.MsgspecError):  # of a later version
                        yield _decode_record(payload)


def _payloads(reader: SegmentReader, start: int, size: int) -> Iterator[bytes]:
    """Of the whole request frames from `start` on."""
    while start < size:
        scan = reader.read(start, 0, size=size, is_sealed=False)
        for item in scan.found:
            if isinstance(item, Frame) and item.kind == Kind.REQUEST:
                yield bytes(item.payload)
        if scan.consumed == start:
            return
        start = scan.consumed
