"""One message of Anthropic's API, whole or as the events of a stream, as far as they are read.

As in completion.py, a slower second reading salvages what is not of its type.
Source: https://docs.anthropic.com/en/api/messages and .../messages-streaming.
"""

from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from .completion import Tokens


class MessageUsage(Struct):
    """Token counts. `input_tokens` is what was neither read from nor written to the cache."""

    input_tokens: Tokens | None = None
    cache_read_input_tokens: Tokens | None = None
    cache_creation_input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None


class Block(Struct):
    """A piece of content, or what a stream adds to one."""

    type: str | None = None
    text: str | None = None


class Delta(Struct):
    """What an event adds: to a piece of content, or to the message."""

    text: str | None = None
    stop_reason: str | None = None


class Message(Struct):
    """A whole answer, or the one a stream begins with; and every event's members besides."""

    type: str | None = None
    id: str | None = None
    model: str | None = None
    content: list[Block] | None = None
    stop_reason: str | None = None
    usage: MessageUsage | None = None
    message: "Message | None" = None
    content_block: Block | None = None
    delta: Delta | None = None
    error: Raw | UnsetType = UNSET


_decode = msgspec.json.Decoder(Message).decode
_decode_loosely = msgspec.json.Decoder(dict[str, Raw]).decode


def read_message(payload: bytes) -> tuple[Message | None, bool]:
    """A message or an event, and whether all of it had its type; None where it is no object."""
    try:
        return _decode(payload), True
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _salvaged(payload), False


def _salvaged(payload: bytes) -> Message | None:
    """Member by member: what has its type counts, what has not is left out."""
    try:
        members = _decode_loosely(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    found = Message()
    for field in msgspec.structs.fields(Message):
        if field.name in members:
            value = _fitting(members[field.name], field.type)
            if value is not None:
                setattr(found, field.name, value)
    return found


def _fitting(raw: Raw, kind: Any) -> Any:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
