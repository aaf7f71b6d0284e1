"""What a client is told when the last attempt failed: WIRE section 3's rules for upstream errors.

A backend's own error passes on byte for byte where it is one that clients know how to read;
everything else becomes an error of ours, in OpenAI's shape, with words that name no address.
"""

from dataclasses import replace

import msgspec

from . import errors
from .attempt import Attempt
from .errors import DownstreamError
from .heads import Header

Passed = tuple[int, list[Header], bytes]

_WORDS = {
    "dns": "its name cannot be resolved",
    "tls": "no trusted TLS connection",
    "reset": "it closed the connection without an answer",
    "stale": "it closed the connection without an answer",
    "cut": "its answer broke off",
    "protocol": "its answer is not well-formed HTTP/1.1",
    "not_json": "its answer is not JSON",
    "no_answer": "its answer is empty",
    "error_event": "it reported an error",
    "status": "it answered with an unexpected status",
}


class _ErrorShape(msgspec.Struct):
    error: dict[str, object]


class _ErrorCode(msgspec.Struct):
    code: object = None
    status: object = None
    type: object = None


_BY_STATUS = ("status", "not_ready")
"""Failures that came as a whole answer with an HTTP error."""
_STATUSES = {named: status for status, named in errors.ANTHROPIC_TYPES.items()} | {
    "invalid_request_error": 400,
    "overloaded_error": 529,
}
"""Anthropic's errors have a type where OpenAI's have a code."""

_decode_shape = msgspec.json.Decoder(_ErrorShape).decode
_decode_code = msgspec.json.Decoder(_ErrorCode).decode


def passed_on(attempt: Attempt, *, has_retried: bool) -> Passed | None:
    """Status, headers and body of a backend's error that goes to the client as it is."""
    if attempt.failure == "error_event":
        return _error_event(attempt)
    status = attempt.status
    if attempt.failure not in _BY_STATUS or attempt.head is None:
        return None
    if status is None or status == 401:
        return None
    if not (400 <= status < 500) and not (status >= 500 and _is_error_shaped(attempt.body)):
        return None
    headers = attempt.target.to_downstream.kept(attempt.head.headers)
    if has_retried or b"insufficient_quota" in attempt.body:
        # Anthropic says "true" with every overload: three tries of ours would become nine.
        headers = [header for header in headers if header[0] != b"x-should-retry"]
        headers += errors.NO_RETRY
    return status, headers, attempt.body


def told(attempt: Attempt, *, has_retried: bool = False) -> DownstreamError:
    """Our own words for a failure that cannot be passed on.

    Where we have tried again ourselves the client is not to: three times three calls is a storm.
    """
    error = _in_our_words(attempt)
    if has_retried and errors.NO_RETRY[0] not in error.headers:
        return replace(error, headers=(*error.headers, *errors.NO_RETRY))
    return error


def _in_our_words(attempt: Attempt) -> DownstreamError:
    failure = attempt.failure or ""
    if attempt.status == 401 and failure == "status":
        return errors.upstream_auth()
    if failure == "timeout":
        is_total = attempt.first_byte_s is not None or "timeout.total" in attempt.failure_text
        return errors.deadline_exceeded("request's" if is_total else "first-token")
    if failure == "connect":
        return errors.no_backend("it cannot be reached.")
    if failure == "full":
        return errors.overloaded()
    return errors.upstream_error(_WORDS.get(failure, "it failed") + ".")


def _error_event(attempt: Attempt) -> Passed:
    """An error inside a 200: its own status where it names one, by number or by type."""
    raw = attempt.reader.error or b"{}"
    try:
        named = _decode_code(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        named = _ErrorCode()
    is_anthropic = attempt.target.protocol == "anthropic"
    of_type = _STATUSES.get(str(named.type)) if is_anthropic else None
    codes = [
        code
        for code in (named.code, named.status, of_type)
        if type(code) is int and 400 <= code <= 599 and code != 401
    ]
    opening = b'{"type":"error","error":' if is_anthropic else b'{"error":'
    body = opening + raw + b"}"
    headers = [(b"content-type", b"application/json"), *errors.NO_RETRY]
    return (codes[0] if codes else 502), headers, body


def _is_error_shaped(body: bytes) -> bool:
    try:
        _decode_shape(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True
