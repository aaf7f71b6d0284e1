"""The journal's bytes: what a segment looks like, as pure functions over buffers.

A segment is a header frame and then frames to its end:

    sync u32 | crc32c u32 | length u32 | sequence u32 | kind u8 | payload (length bytes)

- Little-endian. The checksum covers everything after itself: length, sequence, kind, payload.
- `sync` and the checksum's start value come from the segment's name, which holds random bits
  a client never sees. So text inside a body can never pass for a frame, and after damage the
  next whole frame is found by looking for `sync`.
- `sequence` counts the frames of a segment from 0 (the header). A reader that skips damage
  therefore knows how many frames it lost.
- An unknown kind is a whole frame all the same: it is kept, not skipped.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final, NamedTuple

import msgspec
from crc32c import crc32c

FORMAT_VERSION: Final = 1
MAGIC: Final = "pointsman journal"
SEGMENT_SUFFIX: Final = ".seg"

TORN_TAIL: Final = "torn tail"
CORRUPT: Final = "corrupt"
MISSING: Final = "missing"

PAYLOAD_BYTES_MAX: Final = 1 << 28
"""256 MiB: more than `limits.body` will be; larger answers come in parts."""

_PREFIX = struct.Struct("<4sI")  # sync, crc
_FRAME = struct.Struct("<4sIIIB")
OVERHEAD_BYTES: Final = _FRAME.size


class Kind(IntEnum):
    """What a frame holds. Numbers are for ever; new ones are added at the end."""

    HEADER = 0
    REQUEST = 1
    PART = 2
    FEEDBACK = 3
    LABEL = 4
    EVENT = 5


class SegmentHeader(msgspec.Struct, frozen=True, array_like=True):
    """Payload of the first frame."""

    magic: str
    version: int
    node: str
    worker: int
    writer: str
    """One life of one worker: segments of one writer follow each other."""
    created_us: int


class Frame(NamedTuple):
    """One whole frame; `offset` and `end` are positions in the segment."""

    offset: int
    end: int
    sequence: int
    kind: int
    payload: memoryview


class Damage(NamedTuple):
    """Bytes that are no frame. `frames_lost` is exact, by sequence, where a frame follows."""

    offset: int
    end: int
    reason: str
    frames_lost: int


class Keys(NamedTuple):
    """What a segment's frames are marked and checked with; see `keys_of`."""

    sync: bytes
    seed: int


def keys_of(segment_name: str) -> Keys:
    """The sync mark and checksum seed of the segment called `segment_name` (no folder)."""
    seed = crc32c(segment_name.encode())
    return Keys(struct.pack("<I", crc32c(b"sync", seed)), seed)


class Scan(NamedTuple):
    """What `scan` found. `consumed` is where to go on; `wanted` more bytes would help."""

    found: list[Frame | Damage]
    consumed: int
    wanted: int


def scan(
    data: bytes, keys: Keys, *, base: int, next_sequence: int, is_all: bool, is_sealed: bool
) -> Scan:
    """Read the frames in `data`, which stands at `base` in its segment.

    `is_all`: the segment has nothing after `data`. `is_sealed`: and nothing will be added, so
    an unfinished frame at the end is torn; in a live segment it is merely not there yet.
    """
    found: list[Frame | Damage] = []
    position = 0
    view = memoryview(data)
    while position < len(data):
        frame = _frame_at(view, position, keys, base)
        if isinstance(frame, Frame):
            if frame.sequence != next_sequence:
                found.append(_missing(frame, next_sequence))
            found.append(frame)
            next_sequence = frame.sequence + 1
            position = frame.end - base
            continue
        if not is_all and frame > len(data) - position:
            return Scan(found, base + position, frame)
        after = _next_frame(data, view, position + 1, keys, base)
        if after is None:
            if not is_all:
                return Scan(found, base + position, 2 * (len(data) - position))
            if not is_sealed:
                return Scan(found, base + position, 0)
            found.append(_tail(data, position, base, needed=frame))
            position = len(data)
            continue
        first_record = next_sequence or 1  # the header is a frame but no record
        lost = max(0, after.sequence - first_record)
        found.append(Damage(base + position, after.offset, CORRUPT, lost))
        next_sequence = after.sequence
        position = after.offset - base
    return Scan(found, base + position, 0)


def _frame_at(view: memoryview, position: int, keys: Keys, base: int) -> Frame | int:
    """The frame at `position`, or how many bytes it would need (0: there is none)."""
    left = len(view) - position
    if left < OVERHEAD_BYTES:
        mark = bytes(view[position : position + len(keys.sync)])
        return OVERHEAD_BYTES if keys.sync.startswith(mark) else 0
    sync, crc, length, sequence, kind = _FRAME.unpack_from(view, position)
    if sync != keys.sync or length > PAYLOAD_BYTES_MAX:
        return 0
    end: int = position + OVERHEAD_BYTES + length
    if end > len(view):
        return end - position
    if crc32c(view[position + _PREFIX.size : end], keys.seed) != crc:
        return 0
    return Frame(base + position, base + end, sequence, kind, view[position + OVERHEAD_BYTES : end])


def _next_frame(
    data: bytes, view: memoryview, position: int, keys: Keys, base: int
) -> Frame | None:
    """The first whole frame at or after `position`."""
    for candidate in _marks(data, position, keys.sync):
        frame = _frame_at(view, candidate, keys, base)
        if isinstance(frame, Frame):
            return frame
    return None


def _marks(data: bytes, position: int, sync: bytes) -> Iterator[int]:
    position = data.find(sync, position)
    while position >= 0:
        yield position
        position = data.find(sync, position + 1)


def _missing(frame: Frame, next_sequence: int) -> Damage:
    """Whole frames are gone between two others: deleted, not damaged."""
    return Damage(frame.offset, frame.offset, MISSING, max(0, frame.sequence - next_sequence))


def _tail(data: bytes, position: int, base: int, *, needed: int) -> Damage:
    """A last frame that lacks bytes was never finished (torn); a full one was damaged."""
    if needed > len(data) - position:
        return Damage(base + position, base + len(data), TORN_TAIL, 0)
    return Damage(base + position, base + len(data), CORRUPT, 1)
