"""What a decision may look at: a chat request's envelope, read once, and the features of it.

Only the envelope is decoded. Messages, tools and metadata stay raw JSON until something asks,
so a long prompt costs a scan and no objects. Anything not named here may be of any type: the
backend, not this program, judges the rest of the request.

    parse_chat     body bytes -> ChatRequest, or RequestError (the client's fault)
    read_features  ChatRequest + headers -> Features
    prompt_text, response_schema   for what judges an answer; off the usual path
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from .asked import Features
from .envelope import messages, plain, positive, read_envelope, survey, texts_of, tool_names
from .identity import conversation_of, read_labels, task_of
from .request import ChatRequest, ResponseFormat, ResponseKind

_decode_chat: Final = msgspec.json.Decoder(ChatRequest).decode
_decode_kind: Final = msgspec.json.Decoder(ResponseKind).decode


def parse_chat(body: bytes) -> ChatRequest:
    """Read the envelope. Raises RequestError naming the parameter at fault."""
    return read_envelope(_decode_chat, body)


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
    labels, ignored = read_labels(label_headers, request.metadata)
    system, user_content, has_images = survey(request.messages, b'"image_url"')
    names, has_tools = tool_names(request.tools, request.functions)
    usage = request.stream_options
    tokens_max = request.max_completion_tokens
    if tokens_max is None:
        tokens_max = request.max_tokens
    return Features(  # by position: by name it costs twice as much
        request.model,
        labels,
        ignored,
        labels.get("task") or task_of(system, names),
        conversation_of(conversation_header, caller, system, user_content),
        request.user if isinstance(request.user, str) else None,
        prompt_bytes(request, body_bytes),
        positive(tokens_max),
        request.stream is True,
        1 if request.n is None else positive(request.n) or 1,
        has_tools,
        has_images,
        _response_format(request.response_format) if request.response_format else None,
        request.logprobs is True,
        isinstance(usage, dict) and usage.get("include_usage") is True,
    )


def prompt_bytes(request: ChatRequest, body_bytes: int) -> int:
    """JSON bytes of messages and tools: what becomes prompt tokens. Else the whole body's."""
    return (len(request.messages) + len(request.tools)) or body_bytes


def prompt_text(request: ChatRequest) -> str:
    """Every text of the request's messages, in order, one a line: what a check searches."""
    texts: list[str] = []
    for message in messages(request.messages):
        texts += texts_of(plain(message.content))
    return "\n".join(texts)


def response_schema(request: ChatRequest) -> object | None:
    """The JSON schema the client asked its answer to fit, or None."""
    kind = _response_kind(request.response_format)
    if kind is None or kind.type != "json_schema":
        return None
    wrapper = plain(kind.json_schema)
    schema = wrapper.get("schema") if isinstance(wrapper, dict) else None
    return schema if isinstance(schema, dict | bool) else None


def _response_kind(raw: msgspec.Raw) -> ResponseKind | None:
    try:
        return _decode_kind(raw) if raw else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _response_format(raw: msgspec.Raw) -> ResponseFormat | None:
    kind = _response_kind(raw)
    if kind is None or kind.type not in ("json_object", "json_schema"):
        return None
    return "json_schema" if kind.type == "json_schema" else "json_object"
