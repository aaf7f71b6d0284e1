"""A request to create a response read for the decision: `/v1/responses`."""

from collections.abc import Mapping
from typing import Any

import msgspec

from .asked import Features
from .envelope import messages, plain, positive, read_envelope, survey, texts_of, tool_names
from .identity import conversation_of, read_labels, task_of
from .request import ResponseFormat, ResponsesRequest

_IMAGE = b'"input_image"'

_decode = msgspec.json.Decoder(ResponsesRequest).decode


def parse_response(body: bytes) -> ResponsesRequest:
    """Read the envelope. Raises RequestError naming the parameter at fault."""
    return read_envelope(_decode, body)


def read_features(
    request: ResponsesRequest,
    *,
    body_bytes: int,
    label_headers: Mapping[str, str],
    conversation_header: str | None,
    caller: str | None,
) -> Features:
    """The features of a request; see features.read_features."""
    labels, ignored = read_labels(label_headers, request.metadata)
    system, user, has_images = _survey(request)
    names, has_tools = tool_names(request.tools)
    previous = request.previous_response_id
    return Features(
        model=request.model,
        labels=labels,
        labels_ignored=ignored,
        task=labels.get("task") or task_of(system, names),
        conversation=conversation_of(conversation_header, caller, system, user),
        user=request.user if isinstance(request.user, str) else None,
        prompt_bytes=_prompt_bytes(request) or body_bytes,
        max_tokens=positive(request.max_output_tokens),
        is_stream=request.stream is True,
        choices=1,
        has_tools=has_tools,
        has_images=has_images,
        response_format=_response_format(request),
        wants_logprobs=False,
        include_usage=True,  # always told
        previous_response_id=previous if isinstance(previous, str) and previous else None,
    )


def prompt_text(request: ResponsesRequest) -> str:
    """Every text of instructions and input, in order, one a line."""
    texts = texts_of(plain(request.instructions))
    if bytes(request.input)[:1] == b"[":
        for message in messages(request.input):
            texts += texts_of(plain(message.content))
    else:
        texts += texts_of(plain(request.input))
    return "\n".join(texts)


def response_schema(request: ResponsesRequest) -> object | None:
    """The JSON schema the client asked its answer to fit, or None."""
    wanted = _format(request)
    schema = wanted.get("schema") if wanted.get("type") == "json_schema" else None
    return schema if isinstance(schema, dict | bool) else None


def _survey(request: ResponsesRequest) -> tuple[bytes, bytes, bool]:
    """What tells the task (instructions) and the talk (first words) apart; whether images occur."""
    instructions = bytes(request.instructions)
    if bytes(request.input)[:1] != b"[":
        return instructions, bytes(request.input), False
    system, user, has_images = survey(request.input, _IMAGE)
    return instructions or system, user, has_images


def _prompt_bytes(request: ResponsesRequest) -> int:
    return len(bytes(request.input)) + len(bytes(request.instructions)) + len(bytes(request.tools))


def _response_format(request: ResponsesRequest) -> ResponseFormat | None:
    kind = _format(request).get("type")
    if kind == "json_schema":
        return "json_schema"
    return "json_object" if kind == "json_object" else None


def _format(request: ResponsesRequest) -> dict[str, Any]:
    text = plain(request.text)
    wanted = text.get("format") if isinstance(text, dict) else None
    return wanted if isinstance(wanted, dict) else {}
