"""One line of an imported file as a record, or why it is none. Pure.

Three shapes are read:

    {"request": {...}, "response": {...}, ...}      bodies as objects or as text
    {"request_base64": ..., "response_base64": ...} bodies that are no text
    {"messages": [..., {"role": "assistant", ...}], "tools": [...]}   a row of a fine-tuning file

The other members are named as in `captures --json`, so what one store exports (`jsonl-raw`)
another imports. Members that are not known are left out; a known one of a wrong type is an error.
A row without an id gets one made of its time and its bytes: importing it twice keeps it once.
"""

import base64
import binascii
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from pointsman.tokens import Usage
from policies.features import read_features
from policies.request import ChatRequest, RequestError
from telemetry.ids import milliseconds_of
from telemetry.record import RequestRecord, Status

from .assemble import Assembled, assemble

Json = dict[str, object]
Count = Annotated[int, Meta(ge=0, le=1 << 40)]

BODY_BYTES_MAX: Final = 60_000_000  # of a row's two bodies together: the journal queues 64 MB
_MOMENT_US_MAX: Final = 253_402_300_799_000_000  # the end of the year 9999
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ID: Final = "{:08x}-{:04x}-7{:03x}-{:04x}-{:012x}"
_EMPTY: Final[tuple[object, ...]] = (None, "", [], {})


class BadRow(Exception):
    """The row cannot be imported; the text says why."""


class Row(msgspec.Struct):
    """The members that are read."""

    request: Raw | UnsetType = UNSET
    response: Raw | UnsetType = UNSET
    request_base64: str | None = None
    response_base64: str | None = None
    messages: list[Json] | None = None
    tools: list[Json] | None = None
    id: str | None = None
    ts: str | float | None = None
    api: str = "chat"
    status: Status | None = None
    http_status: Annotated[int, Meta(ge=100, le=599)] | None = None
    route: str | None = None
    backend: str | None = None
    model: str | None = None
    conversation: str | None = None
    task: str | None = None
    labels: dict[str, str] | None = None
    caller: str | None = None
    user: str | None = None
    cost_usd: Annotated[float, Meta(ge=0)] | None = None
    first_token_ms: Annotated[float, Meta(ge=0)] | None = None
    total_ms: Annotated[float, Meta(ge=0)] | None = None
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    reasoning_tokens: Count | None = None
    cached_tokens: Count | None = None
    stream: bool = False
    simulated: bool = False


class _Answer(msgspec.Struct):
    """What an answer tells of itself."""

    id: object = None
    model: object = None
    created: object = None
    usage: object = None


_decode_row = msgspec.json.Decoder(Row).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_chat = msgspec.json.Decoder(ChatRequest).decode
_encode = msgspec.json.Encoder().encode


def record_of(line: bytes, *, source: str, fallback_ms: int) -> RequestRecord:
    """The record of `line`. `fallback_ms`: its time (since the epoch) where the row tells none.

    Raises BadRow.
    """
    row = _parsed(line)
    request, response = _bodies(row)
    if len(request) + len(response or b"") > BODY_BYTES_MAX:
        raise BadRow(f"its bodies are larger than {BODY_BYTES_MAX} bytes")
    chat = _chat(request) if row.api == "chat" else None
    answer = assemble(response) if response is not None and row.api == "chat" else None
    status = row.status or _status(row, response, answer)
    facts = _answer(response)
    ts_us = _moment_us(row, facts, fallback_ms)
    has_id = row.id is not None and milliseconds_of(row.id) is not None
    record = RequestRecord(
        id=row.id if row.id is not None and has_id else _id(line, source, ts_us // 1000),
        ts_us=ts_us,
        api=row.api,
        status=status,
        complete=status == "ok",
        capture="full",
        http_status=row.http_status or (200 if status == "ok" else None),
        source=source,
        route=row.route,
        backend=row.backend,
        model_asked=row.model or (chat.model if chat else None),
        model_reported=facts.model if isinstance(facts.model, str) else None,
        is_stream=row.stream,
        caller=row.caller,
        finish_reason=answer.finish_reason if answer else None,
        usage=_usage(row, facts),
        cost_usd=row.cost_usd,
        first_byte_us=_us(row.first_token_ms),
        total_us=_us(row.total_ms) or 0,
        is_simulated=row.simulated,
        provider_response_id=facts.id if isinstance(facts.id, str) else None,
        request=request,
        response=response,
    )
    return _with_features(record, row, chat, len(request))


def _parsed(line: bytes) -> Row:
    try:
        return _decode_row(line)
    except msgspec.ValidationError as error:
        raise BadRow(str(error)) from None
    except UnicodeDecodeError:
        raise BadRow("not UTF-8") from None
    except RecursionError:
        raise BadRow("nested too deeply") from None
    except msgspec.DecodeError as error:
        raise BadRow(f"not JSON: {error}") from None


def _bodies(row: Row) -> tuple[bytes, bytes | None]:
    """Request and response bytes; a fine-tuning row is taken apart into them."""
    if row.messages is not None:
        return _from_messages(row)
    request = _body(row.request, row.request_base64, "request")
    if request is None:
        raise BadRow("it has neither 'request' nor 'messages'")
    return request, _body(row.response, row.response_base64, "response")


def _body(raw: Raw | UnsetType, encoded: str | None, name: str) -> bytes | None:
    if encoded is not None:
        try:
            return base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise BadRow(f"{name}_base64: {error}") from None
    if raw is UNSET:
        return None
    data = bytes(raw)
    if data == b"null":
        return None
    if data[:1] == b'"':
        return _text_bytes(data)
    if data[:1] != b"{":
        raise BadRow(f"'{name}' must be an object or text")
    return data


def _text_bytes(data: bytes) -> bytes:
    try:
        return msgspec.json.decode(data, type=str).encode("utf-8")
    except (UnicodeError, msgspec.DecodeError) as error:
        raise BadRow(f"not UTF-8 text: {error}") from None


def _from_messages(row: Row) -> tuple[bytes, bytes | None]:
    messages = row.messages or []
    if not messages or messages[-1].get("role") != "assistant":
        raise BadRow("the last of 'messages' must be the assistant's: it is the answer")
    kept = [{k: v for k, v in message.items() if k != "weight"} for message in messages]
    request: Json = {"model": row.model or "imported", "messages": kept[:-1]}
    if row.tools not in _EMPTY:
        request["tools"] = row.tools
    finish = "tool_calls" if kept[-1].get("tool_calls") else "stop"
    choice = {"index": 0, "message": kept[-1], "finish_reason": finish}
    return _encode(request), _encode({"object": "chat.completion", "choices": [choice]})


def _chat(request: bytes) -> ChatRequest:
    try:
        chat = _decode_chat(request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, RequestError) as error:
        raise BadRow(f"its request is no chat request: {error}") from None
    if memoryview(chat.messages).nbytes <= len("[]") or bytes(chat.messages)[:1] != b"[":
        raise BadRow("its request has no messages")
    return chat


def _answer(response: bytes | None) -> _Answer:
    try:
        return _decode_answer(response or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Answer()


def _status(
    row: Row, response: bytes | None, answer: Assembled | None
) -> Literal["ok", "error", "upstream_cut"]:
    """What became of it, as far as the bodies tell."""
    if response is None or (row.http_status or 200) >= 400:
        return "error"
    if row.api != "chat":
        return "ok"
    if answer is None:
        return "error"
    return "ok" if answer.is_whole else "upstream_cut"


def _moment_us(row: Row, facts: _Answer, fallback_ms: int) -> int:
    """When it was asked: the row's word, else its id's or the answer's, else `fallback_ms`."""
    if row.ts is not None:
        return _in_range(_iso_us(row.ts) if isinstance(row.ts, str) else row.ts * 1e6)
    milliseconds = milliseconds_of(row.id) if row.id is not None else None
    if milliseconds is not None:
        return _in_range(milliseconds * 1000)
    if isinstance(facts.created, int) and facts.created > 0:
        return _in_range(facts.created * 1_000_000)
    return fallback_ms * 1000


def _iso_us(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadRow(f"ts: {text!r} is no ISO time") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _in_range(moment_us: float) -> int:
    if not 0 <= moment_us <= _MOMENT_US_MAX:
        raise BadRow("ts: not a moment between 1970 and 9999")
    return int(moment_us)


def _id(line: bytes, source: str, milliseconds: int) -> str:
    """A UUIDv7 whose random part is a hash: the same row has the same id."""
    digest = hashlib.sha256(source.encode("utf-8", "surrogatepass") + b"\0" + line).digest()
    low = int.from_bytes(digest[:10], "big")
    return _ID.format(
        milliseconds >> 16,
        milliseconds & 0xFFFF,
        low & 0xFFF,
        0x8000 | (low >> 12 & 0x3FFF),
        low >> 26 & 0xFFFFFFFFFFFF,
    )


def _usage(row: Row, facts: _Answer) -> Usage:
    """The row's own counts, else the answer's."""
    if row.prompt_tokens is not None or row.completion_tokens is not None:
        return Usage(
            row.prompt_tokens, row.completion_tokens, row.reasoning_tokens, row.cached_tokens
        )
    usage = facts.usage if isinstance(facts.usage, dict) else {}
    return Usage(
        _count(usage, "prompt_tokens"),
        _count(usage, "completion_tokens"),
        _count(usage.get("completion_tokens_details"), "reasoning_tokens"),
        _count(usage.get("prompt_tokens_details"), "cached_tokens"),
    )


def _count(holder: object, name: str) -> int | None:
    value = holder.get(name) if isinstance(holder, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _us(milliseconds: float | None) -> int | None:
    return None if milliseconds is None else int(milliseconds * 1000)


def _with_features(
    record: RequestRecord, row: Row, chat: ChatRequest | None, body_bytes: int
) -> RequestRecord:
    """What routing would have known of it: task, labels, conversation, tools, images."""
    if chat is None:
        return record
    features = read_features(
        chat,
        body_bytes=body_bytes,
        label_headers=row.labels or {},
        conversation_header=row.conversation,
        caller=row.caller,
    )
    return msgspec.structs.replace(
        record,
        labels=features.labels,
        labels_ignored=features.labels_ignored,
        task=row.task or features.task,
        conversation=features.conversation,
        user=row.user or features.user,
        choices=features.choices,
        has_tools=features.has_tools,
        has_images=features.has_images,
        response_format=features.response_format,
    )
