"""How long a backend asks to be left alone: `retry-after-ms`, else `retry-after` (RFC 9110).

The latter is a number of seconds or a date. A date is held against the answer's own `date`, so
that two clocks that differ do not matter.
"""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from .connection import ResponseHead

_SECONDS = re.compile(rb"\d{1,9}(\.\d{1,6})?")
DATE_BYTES_MAX = 64


def retry_after_s(head: ResponseHead) -> float | None:
    """Seconds from the answer on; None where nothing that can be read is said."""
    for name, unit_s in ((b"retry-after-ms", 0.001), (b"retry-after", 1.0)):
        value = head.header(name)
        if value is not None and _SECONDS.fullmatch(value):
            return float(value) * unit_s
    moment = _date(head.header(b"retry-after"))
    if moment is None:
        return None
    now = _date(head.header(b"date")) or datetime.now(UTC)
    return max(0.0, (moment - now).total_seconds())


def _date(value: bytes | None) -> datetime | None:
    if value is None or len(value) > DATE_BYTES_MAX:
        return None
    try:
        found = parsedate_to_datetime(value.decode("ascii"))
        return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # UnicodeDecodeError is one
        return None
