"""Structured logs: one JSON object a line on standard error.

What was said never appears here: fields are short facts (names, counts, codes). A long text is
cut, bytes are reduced to their length, so that a body handed over by mistake does not leak.
"""

import sys
import time
from collections.abc import Mapping
from typing import Literal, TextIO

import msgspec

Level = Literal["debug", "info", "warning", "error"]

TEXT_CHARACTERS_MAX = 500

_encode = msgspec.json.Encoder(enc_hook=str).encode


class Log:
    """Writes lines with some fields already filled in, as `process="worker 0"`."""

    __slots__ = ("_fields", "_stream")

    def __init__(self, stream: TextIO | None = None, **fields: object) -> None:
        self._stream = stream
        self._fields = fields

    def bind(self, **fields: object) -> "Log":
        """The same with more fields."""
        return Log(self._stream, **{**self._fields, **fields})

    def __call__(self, event: str, *, level: Level = "info", **fields: object) -> None:
        """Write one line; a closed or full stream loses the line, never the request."""
        line = format_line(event, level=level, now_s=time.time(), fields={**self._fields, **fields})
        stream = self._stream or sys.stderr
        try:
            stream.write(line)
            stream.flush()
        except (OSError, ValueError):
            return


def log(event: str, *, level: Level = "info", **fields: object) -> None:
    """Write one line about `event` (a short name, as `backend_down`) to standard error."""
    Log()(event, level=level, **fields)


def format_line(event: str, *, level: Level, now_s: float, fields: Mapping[str, object]) -> str:
    """The line, newline included; `ts` is UTC with milliseconds."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_s))
    head = {"ts": f"{moment}.{int(now_s * 1000) % 1000:03d}Z", "level": level, "event": event}
    safe = {name: _safe(value) for name, value in fields.items()}
    return _encode({**head, **safe}).decode("utf-8", "replace") + "\n"


def _safe(value: object) -> object:
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, str) and len(value) > TEXT_CHARACTERS_MAX:
        return value[:TEXT_CHARACTERS_MAX] + "..."
    return value
