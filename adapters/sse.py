"""Server-sent events, sans-io: where events end, and what their data is.

An event ends with a blank line; a line ends with LF, CRLF or CR, also mixed. `EventBuffer` says
how much of what has come may be passed on: everything up to the last blank line, so that a
client never sees half an event that a cut would leave behind (half an event followed by a clean
end "ends normally" in openai-python). It changes no byte.

A CR that ends what has come may be the first half of a CRLF: LF CR or CRLF CR is then not yet a
blank line. CR CR is one at once, else streams that use CR alone would lag an event behind.
Further blank lines belong to the event before them.
"""

import re
from collections.abc import Iterator
from typing import Final

HELD_BYTES_MAX: Final = 64 * 1024
"""An unfinished event is held up to this size, then passed on raw."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_BLANK_LINES: Final = re.compile(rb"(?>\r\n|\n|\r(?!\Z)|(?<=\r)\r){2,}")
_LINE_FEEDS: Final = re.compile(rb"\n\n+")  # the same where there is no CR, 20 times as fast
_SEAM_BYTES: Final = 3
"""The longest beginning of a blank line: CRLF CR."""


class EventBuffer:
    """Cuts a byte stream at event borders. `is_opaque` lets all pass: a coded stream has none."""

    __slots__ = ("_held_bytes", "_is_within", "_pieces", "_seam", "is_opaque", "is_overlong")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._held_bytes = 0
        self._seam = b""
        self._is_within = False
        self.is_opaque = False
        self.is_overlong = False

    @property
    def is_within_event(self) -> bool:
        """What was passed on ends within an event that was too large to be held."""
        return self._is_within

    @property
    def is_between_events(self) -> bool:
        """What was passed on ends with an event: another may stand behind it."""
        return not (self.is_opaque or self._is_within)

    def feed(self, data: bytes) -> bytes:
        """The bytes of all events that are now whole (with what was held before them)."""
        if self.is_opaque:
            return data
        if self._pieces:
            return self._feed_held(data)
        if data.endswith(b"\n\n"):
            self._is_within = False
            return data
        end = last_border(data)
        if end:
            self._is_within = False
        return data if end == len(data) else self._hold(data, end)

    def rest(self) -> bytes:
        """What is held of an unfinished event; empties the buffer."""
        held = b"".join(self._pieces)
        self._pieces = []
        self._held_bytes = 0
        return held

    def _feed_held(self, data: bytes) -> bytes:
        """Only the new bytes are searched, so that tiny reads of a long event stay cheap."""
        before = self._held_bytes - len(self._seam)
        border = last_border(self._seam + data)
        if border:
            self._is_within = False
            data = self.rest() + data
            return data if before + border == len(data) else self._hold(data, before + border)
        self._pieces.append(data)
        self._held_bytes += len(data)
        self._seam = (self._seam + data)[-_SEAM_BYTES:]
        if self._held_bytes > HELD_BYTES_MAX:
            self.is_overlong = self._is_within = True
            return self.rest()
        return b""

    def _hold(self, data: bytes, end: int) -> bytes:
        if len(data) - end > HELD_BYTES_MAX:
            self.is_overlong = self._is_within = True
            return data
        self._pieces = [data[end:]]
        self._held_bytes = len(data) - end
        self._seam = data[max(end, len(data) - _SEAM_BYTES) :]
        return data[:end]


def last_border(data: bytes) -> int:
    """The offset behind the last blank line, 0 where there is none."""
    if b"\r" not in data:
        return data.rfind(b"\n\n") + 2 if b"\n\n" in data else 0
    end = 0
    for match in _BLANK_LINES.finditer(data):
        end = match.end()
    return end


def split_events(data: bytes) -> Iterator[bytes]:
    """The events of `data`, each with its blank line; joining them gives `data` again."""
    if data.find(b"\n\n") == len(data) - 2 and b"\r" not in data:
        yield data
        return
    start = 0
    for match in (_BLANK_LINES if b"\r" in data else _LINE_FEEDS).finditer(data):
        yield data[start : match.end()]
        start = match.end()
    if start < len(data):
        yield data[start:]


def only_data(data: bytes) -> bytes | None:
    """The data where `data` is just one event of one line, as nearly every read is; else None."""
    if (
        data.find(b"\n") == len(data) - 2
        and data.startswith(b"data: ")
        and data.endswith(b"\n\n")
        and b"\r" not in data
    ):
        return data[6:-2]
    return None


def event_data(event: bytes) -> bytes | None:
    """The joined `data:` lines of one event; None where it has none (comments, pings)."""
    line = only_data(event)
    if line is not None:
        return line
    lines = []
    for line in event.removeprefix(_BYTE_ORDER_MARK).splitlines():
        if line.startswith(b"data:"):
            value = line[5:]
            lines.append(value[1:] if value.startswith(b" ") else value)
    return b"\n".join(lines) if lines else None
