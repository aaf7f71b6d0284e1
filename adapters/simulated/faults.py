"""Failures on request: what `metadata.simulate` and a profile's `faults` may say.

A comma-separated list of `WORD` and `WORD=VALUE`, as in `slow=200,cut=3`:

    status=503        an error in OpenAI's shape (retry_after=S adds the header)
    html              a page instead of JSON (with status=502 as that status)
    empty             the status and headers, and an empty body
    nothing           the connection is closed without a byte
    reset             the connection is reset before a byte
    cut=N             closed after N content chunks; without streaming, in mid-body
    cut_reset=N       the same with a reset
    no_finish         a clean end without finish_reason and [DONE]
    no_done           a clean end with finish_reason, without [DONE]
    stall=S           silence for S seconds after `after=N` chunks (0), then as usual
    slow=MS           silence before the headers
    error_event       an error as the first event of a 200 stream
    bad_json          a chunk that is not JSON
    half_event        a clean end in the middle of an event
    finish=REASON     another finish_reason (length empties half of the answer)
    gzip              the body compressed although nobody asked for it
    answer=wrong      the answer is given wrongly; or answer=right, answer=empty
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

WORDS_BYTES_MAX = 512
SECONDS_MAX = 3600.0


@dataclass(frozen=True, slots=True)
class Faults:
    """What is asked for. `None` and False: not."""

    status: int | None = None
    retry_after: str | None = None
    html: bool = False
    empty: bool = False
    nothing: bool = False
    reset: bool = False
    cut: int | None = None
    cut_reset: int | None = None
    no_finish: bool = False
    no_done: bool = False
    stall: float | None = None
    after: int = 0
    slow: float | None = None
    """Milliseconds."""
    error_event: bool = False
    bad_json: bool = False
    half_event: bool = False
    finish: str | None = None
    gzip: bool = False
    answer: str | None = None


NO_FAULTS = Faults()

FLAGS = ("html", "empty", "nothing", "reset", "no_finish", "no_done", "error_event", "bad_json",
         "half_event", "gzip")  # fmt: skip


def parse_faults(words: str) -> Faults:
    """Read a fault list. ValueError names the first word that is not known or has a bad value."""
    if not words.strip():
        return NO_FAULTS
    if len(words) > WORDS_BYTES_MAX:
        raise ValueError("too many faults at once")
    found: dict[str, object] = {}
    for item in words.split(","):
        name, has_value, value = item.strip().partition("=")
        if name in FLAGS and not has_value:
            found[name] = True
        elif name in VALUES and has_value:
            found[name] = VALUES[name](name, value.strip())
        else:
            raise ValueError(f"{item.strip()!r} is not a fault that can be simulated")
    return Faults(**found)  # type: ignore[arg-type] # each value was made by its own reader


def _status(name: str, value: str) -> int:
    status = _count(name, value)
    if not 200 <= status <= 599:
        raise ValueError(f"{name}={value}: a status is 200 to 599")
    return status


def _count(name: str, value: str) -> int:
    if not value.isdecimal() or len(value) > 6:
        raise ValueError(f"{name}={value}: expected a whole number")
    return int(value)


def _span(name: str, value: str) -> float:
    try:
        span = float(value)
    except ValueError:
        raise ValueError(f"{name}={value}: expected a number") from None
    if not 0 <= span <= SECONDS_MAX * 1000:
        raise ValueError(f"{name}={value}: out of range")
    return span


def _word(name: str, value: str) -> str:
    if not value or not value.replace("_", "").replace(".", "").isalnum():
        raise ValueError(f"{name}={value}: expected a word")
    return value


VALUES: Mapping[str, Callable[[str, str], object]] = {
    "status": _status,
    "retry_after": _word,
    "cut": _count,
    "cut_reset": _count,
    "stall": _span,
    "after": _count,
    "slow": _span,
    "finish": _word,
    "answer": _word,
}
