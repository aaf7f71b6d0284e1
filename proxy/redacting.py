"""`redact: true`: personal data masked in what is written, never in what is sent or answered.

The record is masked before the journal has it, so nothing of it is ever on the disk. The live call
is as the client made it. Found is what telemetry/redaction.py has a pattern of; the same value has
the same placeholder all over one record.

Rules:
- JSON is read, its texts are masked, and it is written anew only where something was found: the
  body kept is then no longer byte for byte what passed, and its hash is of what is kept.
- A stream's text comes in pieces, and an address may be cut between two of them: the pieces of one
  text are joined, masked, and all put where the first one was.
- Token logprobs spell the text again: they go where it was changed.
- What cannot be masked is not kept, but for its hash and length: a body that is no JSON or events
  that are none, a compressed one, one larger than BODY_BYTES_MAX, one with more to mask than
  PLACEHOLDERS_MAX values.
"""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from adapters.sse import event_data, split_events
from telemetry.record import AttemptRecord, FeedbackRecord, RequestRecord
from telemetry.redaction import RedactionRefused, Redactor

BODY_BYTES_MAX: Final = 256 << 10
"""Masked on the loop: in the worst case 45 ms for so much, and 3 ms where there is nothing."""

CLEAN, MASKED, LEFT_OUT = 0, 1, 2
"""`pii_state`: nothing was found, something was masked, a body could not be and is left out."""

PIECES: Final = frozenset(
    ("content", "text", "refusal", "reasoning_content", "reasoning", "arguments", "partial_json",
     "thinking", "delta")
)  # fmt: skip
"""Members that carry a text in pieces, whatever the API."""
PLACES: Final = ("type", "index", "item_id", "output_index", "content_index", "summary_index")
"""Members of an event that say which text a piece belongs to; further in, `index` does."""
LOGPROBS: Final = "logprobs"

_encode = msgspec.json.Encoder().encode

Path = tuple[object, ...]


class CannotMask(Exception):
    """What this body says cannot be told."""


def redacted(record: RequestRecord) -> RequestRecord:
    """The record as it may be written."""
    is_too_long = record.response is None and record.response_sha256 is not None
    masking = _Masking(has_left_out=is_too_long and record.capture == "full")
    request, response = masking.body(record.request), masking.body(record.response)
    masked = replace(
        record,
        request=request,
        response=response,
        attempts=tuple([masking.attempt(one) for one in record.attempts]),
        labels={name: masking.text(value) or "" for name, value in record.labels.items()},
        user=masking.text(record.user),
        task=masking.text(record.task),
        conversation=masking.text(record.conversation),
        client_request_id=masking.text(record.client_request_id),
        model_asked=masking.text(record.model_asked),
        pii_state=masking.state,
    )
    if record.request is not None and request is None:
        digest, length = sha256(record.request).digest(), len(record.request)
        masked = replace(masked, request_sha256=digest, request_bytes=length)
    if record.response is not None and response is None:
        digest, length = sha256(record.response).digest(), len(record.response)
        masked = replace(masked, response_sha256=digest, response_bytes=length)
    return masked


def redacted_body(body: bytes) -> bytes | None:
    """One body by itself; None where it cannot be masked."""
    return _Masking().body(body)


def redacted_feedback(feedback: FeedbackRecord) -> FeedbackRecord:
    """What a caller said of an answer, as it may be written."""
    masking = _Masking()
    demonstration = feedback.demonstration
    if demonstration is not None:
        demonstration = masking.json_text(demonstration)
    return replace(
        feedback,
        name=masking.text(feedback.name) or "",
        text=masking.text(feedback.text),
        demonstration=demonstration,
    )


class _Masking:
    """One record's masking; `state` says what came of it."""

    def __init__(self, *, has_left_out: bool = False) -> None:
        self._redactor = Redactor()
        self._has_left_out = has_left_out

    @property
    def state(self) -> int:
        """See CLEAN."""
        if self._has_left_out:
            return LEFT_OUT
        return MASKED if self._redactor.found else CLEAN

    def text(self, text: str | None) -> str | None:
        """None where it holds more than can be masked."""
        if text is None:
            return None
        try:
            return self._redactor.text(text)
        except RedactionRefused:
            self._has_left_out = True
            return None

    def body(self, body: bytes | None) -> bytes | None:
        """The same bytes where there is nothing to mask; None where that cannot be known."""
        if not body:
            return body
        try:
            if len(body) > BODY_BYTES_MAX:
                raise CannotMask
            is_json = body.lstrip()[:1] in (b"{", b"[")
            return self._json(body) if is_json else self._events(body)
        except (CannotMask, RedactionRefused, RecursionError):
            self._has_left_out = True
            return None

    def json_text(self, body: bytes) -> bytes | None:
        """Any JSON value, a text alone as well."""
        try:
            return self._json(body) if len(body) <= BODY_BYTES_MAX else None
        except (CannotMask, RedactionRefused, RecursionError):
            return None

    def attempt(self, attempt: AttemptRecord) -> AttemptRecord:
        """An attempt whose answer the client did not get keeps its body too."""
        if attempt.body is None:
            return attempt
        return replace(attempt, body=self.body(attempt.body))

    def _json(self, body: bytes) -> bytes:
        value = _decoded(body)
        masked = self._redactor.value(value)
        return body if masked == value else _encode(_without_logprobs(masked))

    def _events(self, body: bytes) -> bytes:
        events = list(split_events(body))
        values = [_value_of(event) for event in events]
        texts: dict[Path, list[tuple[dict[str, Any], str]]] = {}
        for value in values:
            for path, holder, key in _pieces(value, ()):
                texts.setdefault((*path, key), []).append((holder, key))
        before = [_encode(value) for value in values]
        for places in texts.values():
            self._mask_joined(places)
        masked = [self._redactor.value(value) for value in values]
        if [_encode(value) for value in masked] == before:
            return body
        return b"".join(
            event if value is None else _written(event, _without_logprobs(value))
            for event, value in zip(events, masked, strict=True)
        )

    def _mask_joined(self, places: list[tuple[dict[str, Any], str]]) -> None:
        whole = "".join([holder[key] for holder, key in places])
        masked = self._redactor.text(whole)
        if masked != whole:
            for holder, key in places:
                holder[key] = ""
            first, key = places[0]
            first[key] = masked


def _decoded(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise CannotMask from None


def _value_of(event: bytes) -> Any:
    """What an event says; None for one without data and for the end's mark."""
    data = event_data(event)
    if data is None:
        if event.strip() and not event.lstrip().startswith((b":", b"event", b"id", b"retry")):
            raise CannotMask
        return None
    return None if data.strip() == b"[DONE]" else _decoded(data)


def _pieces(value: object, path: Path) -> Iterator[tuple[Path, dict[str, Any], str]]:
    """Where texts that come in pieces stand, and which text each is of."""
    if isinstance(value, dict):
        names = PLACES if not path else ("index",)  # what comes later may lack the others
        here = (*path, *(value.get(name) for name in names))
        for key, inner in value.items():
            if key in PIECES and isinstance(inner, str):
                yield here, value, key
            else:
                yield from _pieces(inner, (*here, key))
    elif isinstance(value, list):
        for inner in value:
            yield from _pieces(inner, path)


def _written(event: bytes, value: object) -> bytes:
    """An event with other data; its other lines stay."""
    lines = event.replace(b"\r\n", b"\n").rstrip(b"\n").split(b"\n")
    kept = [line for line in lines if line and not line.startswith(b"data")]
    return b"\n".join([*kept, b"data: " + _encode(value)]) + b"\n\n"


def _without_logprobs(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: None if key == LOGPROBS else _without_logprobs(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_without_logprobs(inner) for inner in value]
    return value
