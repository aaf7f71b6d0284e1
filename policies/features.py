"""What a decision may look at: a chat request's envelope, read once, and the features of it.

Only the envelope is decoded. Messages, tools and metadata stay raw JSON until something asks,
so a long prompt costs a scan and no objects. Anything not named here may be of any type: the
backend, not this program, judges the rest of the request.

    parse_chat     body bytes -> ChatRequest, or RequestError (the client's fault)
    read_features  ChatRequest + headers -> Features
    prompt_text, response_schema   for what judges an answer; off the usual path
"""

from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import msgspec

from .request import (
    ChatRequest,
    Features,
    Message,
    RequestError,
    ResponseFormat,
    ResponseKind,
    Tool,
)

LABELS_MAX = 16  # as many as OpenAI's metadata holds
LABEL_BYTES_MAX = 128
CONVERSATION_BYTES_MAX = 128
TASKS_KEPT = 1024  # task hashes remembered, 4 MB of prompts at most
TASK_BYTES_KEPT = 4096

_SYSTEM_ROLES = ("system", "developer")

_decode_chat = msgspec.json.Decoder(ChatRequest).decode
_decode_messages = msgspec.json.Decoder(list[Message]).decode
_decode_tools = msgspec.json.Decoder(list[Tool]).decode
_decode_kind = msgspec.json.Decoder(ResponseKind).decode


def parse_chat(body: bytes) -> ChatRequest:
    """Read the envelope. Raises RequestError naming the parameter at fault."""
    try:
        return _decode_chat(body)
    except msgspec.ValidationError as error:
        raise _envelope_error(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RequestError("The request body is not valid JSON.") from None
    except RecursionError:
        raise RequestError("The request body is nested too deeply.") from None


def read_features(
    request: ChatRequest,
    *,
    body_bytes: int,
    label_headers: Mapping[str, str],
    conversation_header: str | None,
    caller: str | None,
) -> Features:
    """The features of a request.

    `label_headers` maps NAME of `x-pointsman-label-NAME` to its value; a header's label wins
    over the body's metadata.
    """
    labels, ignored = _read_labels(label_headers, request.metadata)
    system, user_content, has_images = _survey_messages(request.messages)
    names, has_tools = _tool_names(request)
    usage = request.stream_options
    tokens_max = request.max_completion_tokens
    if tokens_max is None:
        tokens_max = request.max_tokens
    return Features(  # by position: by name it costs twice as much
        request.model,
        labels,
        ignored,
        labels.get("task") or _task(system, names),
        _conversation(conversation_header, caller, system, user_content),
        request.user if isinstance(request.user, str) else None,
        prompt_bytes(request, body_bytes),
        _positive(tokens_max),
        request.stream is True,
        1 if request.n is None else _positive(request.n) or 1,
        has_tools,
        has_images,
        _response_format(request.response_format) if request.response_format else None,
        request.logprobs is True,
        isinstance(usage, dict) and usage.get("include_usage") is True,
    )


def prompt_bytes(request: ChatRequest, body_bytes: int) -> int:
    """JSON bytes of messages and tools: what becomes prompt tokens. Else the whole body's."""
    return (memoryview(request.messages).nbytes + memoryview(request.tools).nbytes) or body_bytes


def prompt_text(request: ChatRequest) -> str:
    """Every text of the request's messages, in order, one a line: what a check searches."""
    texts: list[str] = []
    for message in _messages(request.messages):
        content = _plain(message.content)
        if isinstance(content, str):
            texts.append(content)
        elif isinstance(content, list):
            texts.extend(_part_texts(content))
    return "\n".join(texts)


def response_schema(request: ChatRequest) -> object | None:
    """The JSON schema the client asked its answer to fit, or None."""
    kind = _response_kind(request.response_format)
    if kind is None or kind.type != "json_schema":
        return None
    wrapper = _plain(kind.json_schema)
    schema = wrapper.get("schema") if isinstance(wrapper, dict) else None
    return schema if isinstance(schema, dict | bool) else None


# -- labels --------------------------------------------------------------------------------------


def _read_labels(headers: Mapping[str, str], metadata: object) -> tuple[dict[str, str], int]:
    labels: dict[str, str] = {}
    ignored = 0
    for name, value in headers.items():
        ignored += not _take_label(labels, name, value)
    if isinstance(metadata, dict) and metadata:
        for name, value in metadata.items():
            if name.lower() not in labels:
                ignored += not _take_label(labels, name, value)
    return labels, ignored


def _take_label(labels: dict[str, str], name: str, value: object) -> bool:
    """Add one label within the limits; False where it is left out."""
    if len(labels) >= LABELS_MAX or not isinstance(value, str):
        return False
    if not 0 < _byte_length(name) <= LABEL_BYTES_MAX or _byte_length(value) > LABEL_BYTES_MAX:
        return False
    labels[name.lower()] = value
    return True


def _byte_length(text: str) -> int:
    if text.isascii() or len(text) > LABEL_BYTES_MAX:
        return len(text)
    return len(text.encode("utf-8", "surrogatepass"))


# -- messages, tools, format ---------------------------------------------------------------------


def _survey_messages(raw: msgspec.Raw) -> tuple[bytes, bytes, bool]:
    """Raw content of the first system and the first user message, and whether images occur."""
    system = user = None
    may_have_images = b'"image_url"' in bytes(raw)
    has_images = False
    for message in _messages(raw):
        if system is None and message.role in _SYSTEM_ROLES:
            system = bytes(message.content)
        elif user is None and message.role == "user":
            user = bytes(message.content)
        if may_have_images:
            # A quote inside JSON text is escaped, so this key cannot be meant by a user's words.
            content = bytes(message.content)
            has_images = has_images or (content[:1] == b"[" and b'"image_url"' in content)
        elif system is not None and user is not None:
            break
    return system or b"", user or b"", has_images


def _messages(raw: msgspec.Raw) -> list[Message]:
    try:
        return _decode_messages(raw) if raw else []
    except (msgspec.DecodeError, RecursionError):
        return []  # not a list of objects: the backend says what it thinks of that


def _tool_names(request: ChatRequest) -> tuple[bytes, bool]:
    if not request.tools and not request.functions:
        return b"", False
    tools = _tools(request.tools) + _tools(request.functions)
    names = "\n".join(tool.function.name or tool.name for tool in tools)
    return names.encode(), _has_items(request.tools) or _has_items(request.functions)


def _has_items(raw: msgspec.Raw) -> bool:
    """Whether it is a list that is not empty, whatever is in it."""
    text = bytes(raw)
    return text.startswith(b"[") and bool(text.strip(b"[] \t\r\n"))


def _tools(raw: msgspec.Raw) -> list[Tool]:
    try:
        return _decode_tools(raw) if raw else []
    except (msgspec.DecodeError, RecursionError):
        return []


def _response_kind(raw: msgspec.Raw) -> ResponseKind | None:
    try:
        return _decode_kind(raw) if raw else None
    except (msgspec.DecodeError, RecursionError):
        return None


def _response_format(raw: msgspec.Raw) -> ResponseFormat | None:
    kind = _response_kind(raw)
    if kind is None or kind.type not in ("json_object", "json_schema"):
        return None
    return "json_schema" if kind.type == "json_schema" else "json_object"


def _part_texts(parts: list[Any]) -> list[str]:
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return [text for text in texts if isinstance(text, str)]


def _plain(raw: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw) if raw else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


# -- identities ----------------------------------------------------------------------------------


def _conversation(header: str | None, caller: str | None, system: bytes, user: bytes) -> str:
    if header:
        encoded = header.encode("utf-8", "surrogatepass")
        return header if len(encoded) <= CONVERSATION_BYTES_MAX else _digest(16, encoded)
    name = caller.encode("utf-8", "surrogatepass") if caller else b""
    framed = b"%d:%b%d:%b%d:%b" % (len(name), name, len(system), system, len(user), user)
    return blake2b(framed, digest_size=16).hexdigest()


def _task(system: bytes, names: bytes) -> str:
    """A hash of what makes requests alike: the system prompt and the tools' names."""
    if len(system) + len(names) <= TASK_BYTES_KEPT:
        return _kept_task(system, names)
    return _digest(8, system, names)


@lru_cache(maxsize=TASKS_KEPT)
def _kept_task(system: bytes, names: bytes) -> str:
    return _digest(8, system, names)


def _digest(size: int, *parts: bytes) -> str:
    """Hex of BLAKE2b over length-prefixed parts, so that no two lists of parts collide."""
    framed = b"".join([b"%d:%b" % (len(part), part) for part in parts])
    return blake2b(framed, digest_size=size).hexdigest()


def _positive(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None


def _envelope_error(detail: str) -> RequestError:
    if "missing required field `model`" in detail:
        return RequestError("You must provide a model parameter.", "model")
    for name, kind in (("model", "a string"), ("stream", "a boolean")):
        if f"`$.{name}`" in detail:
            return RequestError(
                f"Invalid type for '{name}': expected {kind}.", name, "invalid_type"
            )
    return RequestError("The request body must be a JSON object.")
