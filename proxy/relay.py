"""What a client did not ask for is taken out of an answer on its way down; nothing else changes.

Two things may have been asked of the backend on top of the client's request: the usage of a
stream, and token logprobs. Here they are hidden again (WIRE section 7), event by event, by
splicing. Events that carry neither pass through untouched and unread.
"""

import re
from typing import Final

import msgspec
from msgspec import UNSET

from adapters import splice
from adapters.sse import event_data, split_events

from .chunk import Choices, Chunk

_decode_chunk: Final = msgspec.json.Decoder(Chunk).decode
_decode_choices: Final = msgspec.json.Decoder(Choices).decode
_NULL: Final = b"null"
_LAST_MEMBER: Final = b',"usage":null}\n\n'
_LOGPROBS_KEY: Final = re.compile(rb'"logprobs"[ \t\r\n]*:[ \t\r\n]*')


def hide_in_events(data: bytes, *, usage: bool, logprobs: bool) -> bytes:
    """Whole events without what the client did not ask for."""
    if usage and not logprobs and _ends_in_null_usage(data):
        return data[: -len(_LAST_MEMBER)] + b"}\n\n"
    kept = []
    for event in split_events(data):
        if (usage and b'"usage"' in event) or (logprobs and b'"logprobs"' in event):
            event = _hide_in_event(event, usage=usage, logprobs=logprobs)
        kept.append(event)
    return b"".join(kept)


def _ends_in_null_usage(data: bytes) -> bool:
    """Whether `data` is one event of one line whose only `"usage"` is its last member, null.

    So nearly every chunk comes, and nothing of it has to be parsed: an unescaped quote cannot
    stand inside a JSON text, and the last brace of a line closes the chunk itself.
    """
    return (
        data.endswith(_LAST_MEMBER)
        and data.find(b'"usage"') == len(data) - len(_LAST_MEMBER) + 1
        and data.find(b"\n") == len(data) - 2
        and data.startswith(b"data: {")
    )


def without_done(data: bytes) -> bytes:
    """Whole events without `[DONE]`: what remains of the end of an answer that was cut."""
    return b"".join(
        event
        for event in split_events(data)
        if not (event_data(event) or b"").startswith(b"[DONE]")
    )


def hide_logprobs(body: bytes) -> bytes:
    """A completion or chunk whose choices say `"logprobs": null`."""
    try:
        choices = _decode_choices(body).choices
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body
    edits: list[splice.Edit] = []
    position = 0
    for choice in choices:
        if choice.logprobs is UNSET or (raw := bytes(choice.logprobs)) == _NULL:
            continue
        start = _value_start(body, raw, position)
        if start is not None:
            position = start + len(raw)
            edits.append((start, position, _NULL))
    return splice.apply(body, edits) if edits else body


def _value_start(body: bytes, raw: bytes, position: int) -> int | None:
    """Where a choice's logprobs stand, looked for behind those of the choice before."""
    for match in _LOGPROBS_KEY.finditer(body, position):
        if body.startswith(raw, match.end()):
            return match.end()
    return None


def _hide_in_event(event: bytes, *, usage: bool, logprobs: bool) -> bytes:
    """One event with its JSON edited in place; b"" where nothing of it is the client's."""
    payload = event_data(event)
    if payload is None or payload not in event:
        return event  # several data lines: no backend writes JSON so
    edited = _hide_usage(payload) if usage else payload
    if logprobs and edited:
        edited = hide_logprobs(edited)
    return event.replace(payload, edited, 1) if edited else b""


def _hide_usage(payload: bytes) -> bytes:
    """A chunk without `"usage": null`; b"" for one that carries the usage and no choice."""
    try:
        chunk = _decode_chunk(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return payload
    if chunk.usage is UNSET:
        return payload
    if bytes(chunk.usage) == _NULL:
        return _without_usage(payload)
    return payload if chunk.choices else b""


def _without_usage(payload: bytes) -> bytes:
    if payload.endswith(b',"usage":null}') and payload.find(b'"usage"') == len(payload) - 13:
        return payload[:-14] + b"}"
    try:
        edit = splice.remove_member(payload, "usage")
    except ValueError:
        return payload
    return payload if edit is None else splice.apply(payload, [edit])
