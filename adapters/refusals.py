"""Why a backend would not take a request although nothing is wrong with it: for another to take.

    context_window   the prompt, with what the answer may take, is longer than the model reads
    content_filter   a filter of the provider's stopped it; another provider has another one

Read from an error body: by its code where the server has one, else by its words, since
Anthropic's, vLLM's and older llama.cpp's have none. Everything else is the client's to mend.
"""

import re
from typing import Literal

import msgspec

Refusal = Literal["context_window", "content_filter"]

STATUSES = frozenset({400, 413, 422})
BYTES_MAX = 64 << 10
"""An error that says why is short; a longer body is not searched."""

_CODES: dict[str, Refusal] = {
    "context_length_exceeded": "context_window",
    "exceed_context_size_error": "context_window",  # llama.cpp, as its type
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
    "responsibleaipolicyviolation": "content_filter",  # Azure, inside
}
_TOO_LONG = re.compile(
    r"maximum context length|context (?:window|length|size)|prompt is too long", re.IGNORECASE
)
_FILTERED = re.compile(r"content (?:filter|management policy|policy)", re.IGNORECASE)


class _Error(msgspec.Struct):
    code: object = None
    type: object = None
    message: object = None
    innererror: object = None


class _Whole(msgspec.Struct):
    error: _Error


_decode_whole = msgspec.json.Decoder(_Whole).decode
_decode_error = msgspec.json.Decoder(_Error).decode


def refusal_of(status: int, body: bytes) -> Refusal | None:
    """What an HTTP error with this body refused, if it is one of the two."""
    if status not in STATUSES or len(body) > BYTES_MAX:
        return None
    try:
        return _kind(_decode_whole(body).error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def refusal_in(error: bytes) -> Refusal | None:
    """The same of an error object that came inside an answer."""
    if len(error) > BYTES_MAX:
        return None
    try:
        return _kind(_decode_error(error))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _kind(error: _Error) -> Refusal | None:
    inner = error.innererror
    inside = inner.get("code") if isinstance(inner, dict) else None
    for word in (error.code, error.type, inside):
        if isinstance(word, str) and word.lower() in _CODES:
            return _CODES[word.lower()]
    if not isinstance(error.message, str):
        return None
    if _TOO_LONG.search(error.message):
        return "context_window"
    return "content_filter" if _FILTERED.search(error.message) else None
