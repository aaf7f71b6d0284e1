"""A request to Anthropic's Messages API read for the decision: `/v1/messages`, `count_tokens`."""

from collections.abc import Mapping
from typing import Any

import msgspec

from .asked import Features
from .envelope import messages, plain, positive, read_envelope, survey, texts_of, tool_names
from .identity import conversation_of, read_labels, task_of
from .request import NOTHING

IMAGE_MARK = b'"image"'


class MessagesRequest(msgspec.Struct, frozen=True):
    """The envelope; everything but `model` and `stream` unjudged."""

    model: str
    stream: bool | None = None
    system: msgspec.Raw = NOTHING
    messages: msgspec.Raw = NOTHING
    tools: msgspec.Raw = NOTHING
    metadata: Any = None
    max_tokens: Any = None
    output_config: Any = None
    output_format: Any = None


_decode = msgspec.json.Decoder(MessagesRequest).decode


def parse_messages(body: bytes) -> MessagesRequest:
    """Read the envelope. Raises RequestError naming the parameter at fault."""
    return read_envelope(_decode, body)


def read_features(
    request: MessagesRequest,
    *,
    body_bytes: int,
    label_headers: Mapping[str, str],
    conversation_header: str | None,
    caller: str | None,
) -> Features:
    """The features of a request; see features.read_features.

    `metadata.user_id` says whose request it is and is no label.
    """
    metadata = dict(request.metadata) if isinstance(request.metadata, dict) else {}
    user = metadata.pop("user_id", None)
    labels, ignored = read_labels(label_headers, metadata)
    _, asked, has_images = survey(request.messages, IMAGE_MARK)
    system = bytes(request.system)
    names, has_tools = tool_names(request.tools)
    parts = (request.system, request.messages, request.tools)
    return Features(
        model=request.model,
        labels=labels,
        labels_ignored=ignored,
        task=labels.get("task") or task_of(system, names),
        conversation=conversation_of(conversation_header, caller, system, asked),
        user=user if isinstance(user, str) else None,
        prompt_bytes=sum(memoryview(part).nbytes for part in parts) or body_bytes,
        max_tokens=positive(request.max_tokens),
        is_stream=request.stream is True,
        choices=1,
        has_tools=has_tools,
        has_images=has_images,
        response_format="json_schema" if response_schema(request) is not None else None,
        wants_logprobs=False,
        include_usage=True,
    )


def prompt_text(request: MessagesRequest) -> str:
    """Every text of the request, the system's first, one a line."""
    texts = texts_of(plain(request.system))
    for message in messages(request.messages):
        texts.extend(texts_of(plain(message.content)))
    return "\n".join(texts)


def response_schema(request: MessagesRequest) -> object | None:
    """The JSON schema the client asked its answer to fit, or None."""
    wanted = request.output_format
    if isinstance(request.output_config, dict):
        wanted = request.output_config.get("format", wanted)
    schema = wanted.get("schema") if isinstance(wanted, dict) else None
    return schema if isinstance(schema, dict | bool) else None
