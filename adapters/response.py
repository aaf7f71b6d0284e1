"""One response of the Responses API, and the events of its stream, as far as they are read.

As in completion.py, a slower second reading salvages what is not of its type.
"""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from .completion import Logprob, Tokens, fitting, loose_object


class InputDetails(Struct):
    cached_tokens: Tokens | None = None
    cache_write_tokens: Tokens | None = None


class OutputDetails(Struct):
    reasoning_tokens: Tokens | None = None


class ResponseUsage(Struct):
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    input_tokens_details: InputDetails | None = None
    output_tokens_details: OutputDetails | None = None


class Incomplete(Struct):
    reason: str | None = None


class Part(Struct):
    text: str | None = None
    logprobs: list[Logprob] | None = None


class Item(Struct):
    type: str | None = None
    content: list[Part] | None = None


class Response(Struct):
    id: str | None = None
    model: str | None = None
    status: str | None = None
    usage: ResponseUsage | None = None
    output: list[Item] | None = None
    incomplete_details: Incomplete | None = None
    error: Raw | UnsetType = UNSET


class Event(Struct):
    """One event. An error carries its members itself, or in `error`."""

    type: str | None = None
    response: Response | None = None
    error: Raw | UnsetType = UNSET
    code: Any = None
    message: Any = None
    param: Any = None


class _Numbered(Struct):
    sequence_number: int = -1


_decode_response = msgspec.json.Decoder(Response).decode
_decode_event = msgspec.json.Decoder(Event).decode
_decode_numbered = msgspec.json.Decoder(_Numbered).decode


def read_response(body: bytes) -> tuple[Response | None, bool]:
    """The response, and whether all of it had its type; None where it is no JSON object."""
    try:
        return _decode_response(body), True
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        members = loose_object(body)
        return (None if members is None else _salvage_response(members)), False


def read_event(payload: bytes) -> tuple[Event | None, bool]:
    """The event, and whether all of it had its type; None where it is no JSON object."""
    try:
        return _decode_event(payload), True
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        members = loose_object(payload)
        return (None if members is None else _salvage_event(members)), False


def sequence_number(payload: bytes) -> int:
    """An event's number; -1 where it has none."""
    try:
        return _decode_numbered(payload).sequence_number
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return -1


def _salvage_response(members: Mapping[str, Any]) -> Response:
    output = members.get("output")
    items = output if isinstance(output, list) else []
    return Response(
        id=fitting(members, "id", str),
        model=fitting(members, "model", str),
        status=fitting(members, "status", str),
        usage=_salvage_usage(members.get("usage")),
        output=[_salvage_item(item) for item in items if isinstance(item, dict)],
        incomplete_details=fitting(members, "incomplete_details", Incomplete),
        error=_raw(members, "error"),
    )


def _salvage_item(members: Mapping[str, Any]) -> Item:
    content = members.get("content")
    parts = content if isinstance(content, list) else []
    return Item(
        type=fitting(members, "type", str),
        content=[Part(text=fitting(part, "text", str)) for part in parts if isinstance(part, dict)],
    )


def _salvage_usage(members: object) -> ResponseUsage | None:
    if not isinstance(members, dict):
        return None
    return ResponseUsage(
        input_tokens=fitting(members, "input_tokens", Tokens),
        output_tokens=fitting(members, "output_tokens", Tokens),
        input_tokens_details=fitting(members, "input_tokens_details", InputDetails),
        output_tokens_details=fitting(members, "output_tokens_details", OutputDetails),
    )


def _salvage_event(members: Mapping[str, Any]) -> Event:
    response = members.get("response")
    return Event(
        type=fitting(members, "type", str),
        response=_salvage_response(response) if isinstance(response, dict) else None,
        error=_raw(members, "error"),
        message=fitting(members, "message", str),
        code=fitting(members, "code", str),
        param=fitting(members, "param", str),
    )


def _raw(members: Mapping[str, Any], name: str) -> Raw | UnsetType:
    return Raw(json.dumps(members[name]).encode()) if name in members else UNSET
