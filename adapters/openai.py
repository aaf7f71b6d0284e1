"""The OpenAI wire: what a request to an OpenAI-compatible server looks like.

`Target` is made once per backend and holds everything constant; `prepare` makes the bytes of
one request from the client's body by splicing. Header rules are an allow-list (WIRE section 5):
what is not named here never leaves, above all not the client's own key.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

import pointsman

from . import splice
from .backend import Backend
from .connection import ResponseHead
from .content_coding import decoded

_KEPT_UPSTREAM = frozenset({b"content-type", b"accept", b"idempotency-key", b"traceparent"})
_KEPT_UPSTREAM_PREFIXES = (b"openai-", b"x-stainless-")
_NEVER_UPSTREAM = frozenset({b"openai-organization", b"openai-project"})

_KEPT_DOWNSTREAM = frozenset(
    {
        b"content-type",
        b"content-encoding",
        b"x-request-id",
        b"openai-processing-ms",
        b"openai-version",
        b"openai-model",
        b"retry-after",
        b"retry-after-ms",
        b"x-should-retry",
        b"x-pointsman-simulated",
    }
)
_KEPT_DOWNSTREAM_PREFIX = b"x-ratelimit-"

_USAGE_OPTION = b'{"include_usage":true}'

CHAT_PATH = "/chat/completions"
_MODEL_ONLY = ("model",)
_ALTERNATIVES = b"1"
"""`top_logprobs` beside our `logprobs`. llama.cpp answers 20 alternatives a token where it is
absent, and no logprobs at all for 0."""


class Wanted(NamedTuple):
    """What the route asks of one attempt, and what is known of the client's body."""

    model_asked: str
    is_stream: bool
    includes_usage: bool
    """The client asked for usage in its stream."""
    adds_logprobs: bool
    """Confidence wants logprobs and the client asked for none."""


class Prepared(NamedTuple):
    """One request, ready to send, and what must be hidden from its answer."""

    payload: bytes
    edited: tuple[str, ...]
    hides_usage: bool
    hides_logprobs: bool


class Target:
    """One OpenAI-compatible backend, everything constant precomputed."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._model_json = splice.json_text(backend.model)
        self._start = f"POST {backend.path_prefix}{CHAT_PATH}".encode()
        default_port = 443 if backend.scheme == "https" else 80
        host = backend.host or ""
        host = f"[{host}]" if ":" in host else host
        authority = host if backend.port == default_port else f"{host}:{backend.port}"
        fixed = [
            " HTTP/1.1",
            f"host: {authority}",
            "accept-encoding: identity",
            f"user-agent: pointsman/{pointsman.__version__}",
        ]
        if backend.api_key is not None:
            fixed.append(f"authorization: Bearer {backend.api_key.value}")
        self._fixed_lines = "".join(f"{line}\r\n" for line in fixed).encode("latin-1")

    def prepare(
        self, body: bytes, wanted: Wanted, *, header_lines: bytes, query: bytes = b""
    ) -> Prepared:
        """The bytes of one request; `header_lines` are the client's, as `kept_upstream` left them.

        Raises splice.DuplicateMember where the body holds an edited member twice, ValueError
        where its keys cannot be read (half a surrogate pair).
        """
        edited: tuple[str, ...] = ()
        if wanted.model_asked != self.backend.model:
            body = splice.apply_one(body, splice.replace_value(body, "model", self._model_json))
            edited = _MODEL_ONLY
        else:
            splice.refuse_twice(body, "model")
        hides_usage = False
        if wanted.is_stream and not wanted.includes_usage and self.backend.include_usage:
            usage_edit = _usage_edit(body)
            if usage_edit is not None:
                body = splice.apply_one(body, usage_edit)
                edited += ("stream_options.include_usage",)
                hides_usage = True
        if wanted.adds_logprobs:
            body = splice.apply_one(body, splice.set_member(body, "logprobs", b"true"))
            body = splice.apply_one(body, splice.set_member(body, "top_logprobs", _ALTERNATIVES))
            edited += ("logprobs", "top_logprobs")
        if self.backend.strip_metadata and (edit := splice.remove_member(body, "metadata")):
            body = splice.apply_one(body, edit)
            edited += ("metadata",)
        payload = b"%b%b%b%bcontent-length: %d\r\n\r\n%b" % (
            self._start,
            query,
            self._fixed_lines,
            header_lines,
            len(body),
            body,
        )
        return Prepared(payload, edited, hides_usage, wanted.adds_logprobs)


RETRYABLE_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


def is_retryable(head: ResponseHead, body: bytes) -> bool:
    """Whether the same request may do better another time: by status, unless told otherwise.

    A spent quota answers 429 and stays spent; `x-should-retry` is the backend's own word.
    """
    if head.status not in RETRYABLE_STATUSES or head.header(b"x-should-retry") == b"false":
        return False
    return b"insufficient_quota" not in decoded(body, head.coding)


def retry_after_s(head: ResponseHead) -> float | None:
    """Seconds the backend asks to wait: `retry-after-ms`, else `retry-after` in seconds."""
    for name, unit_s in ((b"retry-after-ms", 0.001), (b"retry-after", 1.0)):
        value = head.header(name)
        if value is not None and re.fullmatch(rb"\d{1,9}(\.\d{1,6})?", value):
            return float(value) * unit_s
    return None


def kept_upstream(
    headers: Iterable[tuple[bytes, bytes]], dropped: frozenset[bytes] = frozenset()
) -> bytes:
    """The lines of a client's headers that go on; `dropped` are those `Connection` named."""
    return b"".join(
        [
            b"%b: %b\r\n" % (name, value)
            for name, value in headers
            if (name in _KEPT_UPSTREAM or name.startswith(_KEPT_UPSTREAM_PREFIXES))
            and name not in _NEVER_UPSTREAM
            and name not in dropped
        ]
    )


def kept_downstream(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of a backend's answer that a client may see, in their order."""
    return [
        header
        for header in headers
        if header[0] in _KEPT_DOWNSTREAM or header[0].startswith(_KEPT_DOWNSTREAM_PREFIX)
    ]


def _usage_edit(body: bytes) -> splice.Edit | None:
    """The edit that asks for usage in a stream, keeping other members of `stream_options`.

    None where `stream_options` is no object: the backend, not we, says what is wrong with it.
    """
    if splice.is_absent(body, "stream_options"):
        return splice.insert_member(body, "stream_options", _USAGE_OPTION)
    span = splice.walk(body).get("stream_options")
    if span is None:
        return splice.insert_member(body, "stream_options", _USAGE_OPTION)
    _, start, end = span
    options = body[start:end]
    if options == b"null":
        return start, end, _USAGE_OPTION
    if not options.startswith(b"{"):
        return None
    return (
        start,
        end,
        splice.apply_one(options, splice.set_member(options, "include_usage", b"true")),
    )
