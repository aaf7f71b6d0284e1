"""What the end of one call says about its backend: well, failed, to be left alone, or nothing.

answered                                   success
no connection, a broken or late answer, 5xx  failure
429                                        rate limited: no failure
429 with a spent quota, 401, still loading  a pause of its own kind
another 4xx, a client that left, our limit   nothing: the backend has done nothing wrong
"""

from typing import Literal, NamedTuple

import msgspec

from adapters.content_coding import decoded
from adapters.retry_after import retry_after_s
from adapters.standing import Pause

from .attempt import Attempt

RATE_LIMITED_S = 1.0
"""Without a `retry-after`."""
NO_QUOTA_S = 60.0
"""Whoever pays a bill waits no longer than this for the traffic to come back."""
CREDENTIAL_S = 60.0
LOADING_S = 2.0

_INNOCENT = frozenset({"client_gone", "internal", "full"})


class Verdict(NamedTuple):
    """`span_s` is the length of a pause."""

    word: Literal["well", "nothing"] | Pause
    reason: str = ""
    span_s: float = 0.0


WELL = Verdict("well")
NOTHING = Verdict("nothing")


class _ErrorWords(msgspec.Struct):
    """The members of an error that say whose fault it is."""

    code: object = None
    status: object = None
    type: object = None


_decode_words = msgspec.json.Decoder(_ErrorWords).decode


def verdict_of(attempt: Attempt) -> Verdict:
    """The verdict on an attempt that has ended."""
    failure = attempt.failure
    if failure is None:
        return WELL
    if attempt.is_innocent or failure in _INNOCENT:
        return NOTHING
    if failure == "not_ready":
        return Verdict("loading", "it is loading its model", _asked_s(attempt) or LOADING_S)
    if failure == "status" and attempt.status is not None:
        coding = attempt.head.coding if attempt.head is not None else None
        return _of_status(attempt, attempt.status, decoded(attempt.body, coding))
    if failure == "error_event":
        raw = attempt.reader.error or b"{}"
        return _of_status(attempt, _status_in(raw), raw)
    return Verdict("failing", failure)


def _of_status(attempt: Attempt, status: int, body: bytes) -> Verdict:
    reason = f"status {status}"
    if status == 429:
        if b"insufficient_quota" in body:
            return Verdict("no_quota", "insufficient_quota", NO_QUOTA_S)
        asked_s = _asked_s(attempt)
        return Verdict("rate_limited", reason, RATE_LIMITED_S if asked_s is None else asked_s)
    if status == 401:
        return Verdict("credential_refused", reason, CREDENTIAL_S)
    return NOTHING if 400 <= status < 500 else Verdict("failing", reason)


def _asked_s(attempt: Attempt) -> float | None:
    return None if attempt.head is None else retry_after_s(attempt.head)


def _status_in(raw: bytes) -> int:
    """The status that an error inside an answer stands for; 500 where it names none."""
    try:
        words = _decode_words(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return 500
    for code in (words.code, words.status):
        if type(code) is int and 400 <= code <= 599:
            return code
    named = {word for word in (words.code, words.type) if isinstance(word, str)}
    if not named.isdisjoint({"rate_limit_exceeded", "insufficient_quota", "rate_limit_error"}):
        return 429
    return 400 if "invalid_request_error" in named else 500
