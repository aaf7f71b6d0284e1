"""Server-sent events, sans-io: where events end, and what their data is.

`EventBuffer` says how much of what has come may be passed on: everything up to the last blank
line, so that a client never sees half an event that a cut would leave behind (half an event
followed by a clean end "ends normally" in openai-python). It changes no byte.
"""

from collections.abc import Iterator

HELD_BYTES_MAX = 64 * 1024
"""An unfinished event is held up to this size, then passed on raw."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventBuffer:
    """Cuts a byte stream at event borders."""

    __slots__ = ("_held", "is_overlong")

    def __init__(self) -> None:
        self._held = b""
        self.is_overlong = False

    def feed(self, data: bytes) -> bytes:
        """The bytes of all events that are now whole (with what was held before them)."""
        if self._held:
            data = self._held + data
            self._held = b""
        elif data.endswith(b"\n\n"):
            return data
        end = last_border(data)
        if end == len(data):
            return data
        if len(data) - end > HELD_BYTES_MAX:
            self.is_overlong = True
            return data
        self._held = data[end:]
        return data[:end]

    def rest(self) -> bytes:
        """What is held of an unfinished event; empties the buffer."""
        held, self._held = self._held, b""
        return held


def last_border(data: bytes) -> int:
    """The offset behind the last blank line, 0 where there is none."""
    ends = (
        (data.rfind(b"\n\n"), 2),
        (data.rfind(b"\n\r\n"), 3),
        (data.rfind(b"\r\r"), 2),
    )
    return max(position + length if position >= 0 else 0 for position, length in ends)


def split_events(data: bytes) -> Iterator[bytes]:
    """Whole events of `data`, each with its blank line; joining them gives `data` again."""
    if data.count(b"\n\n") == 1 and data.endswith(b"\n\n") and b"\r" not in data:
        yield data
        return
    start = 0
    while start < len(data):
        end = _next_border(data, start)
        yield data[start:end]
        start = end


def event_data(event: bytes) -> bytes | None:
    """The joined `data:` lines of one event; None where it has none (comments, pings)."""
    if event.startswith(b"data: ") and event.find(b"\n") == len(event) - 2:
        return event[6:-2]
    lines = []
    for line in event.removeprefix(_BYTE_ORDER_MARK).splitlines():
        if line.startswith(b"data:"):
            value = line[5:]
            lines.append(value[1:] if value.startswith(b" ") else value)
    return b"\n".join(lines) if lines else None


def _next_border(data: bytes, start: int) -> int:
    ends = [
        position + length
        for mark, length in ((b"\n\n", 2), (b"\n\r\n", 3), (b"\r\r", 2))
        if (position := data.find(mark, start)) >= 0
    ]
    return min(ends) if ends else len(data)
