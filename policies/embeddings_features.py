"""An embeddings request read for the decision: `/v1/embeddings`."""

from collections.abc import Mapping

import msgspec

from .asked import Features
from .envelope import read_envelope
from .identity import conversation_of, read_labels, task_of
from .request import EmbeddingsRequest

TASK = b"embeddings"
"""Requests for vectors are alike whatever they hold: one task, unless a label names another."""

_decode = msgspec.json.Decoder(EmbeddingsRequest).decode


def parse_embeddings(body: bytes) -> EmbeddingsRequest:
    """Read the envelope. Raises RequestError naming the parameter at fault."""
    return read_envelope(_decode, body)


def read_features(
    request: EmbeddingsRequest,
    *,
    body_bytes: int,
    label_headers: Mapping[str, str],
    conversation_header: str | None,
    caller: str | None,
) -> Features:
    """The features of a request; see features.read_features."""
    labels, ignored = read_labels(label_headers, request.metadata)
    text = bytes(request.input)
    return Features(
        model=request.model,
        labels=labels,
        labels_ignored=ignored,
        task=labels.get("task") or task_of(b"", TASK),
        conversation=conversation_of(conversation_header, caller, b"", text),
        user=request.user if isinstance(request.user, str) else None,
        prompt_bytes=len(text) or body_bytes,
        max_tokens=None,
        is_stream=False,
        choices=1,
        has_tools=False,
        has_images=False,
        response_format=None,
        wants_logprobs=False,
        include_usage=True,  # always told
    )


def prompt_text(request: EmbeddingsRequest) -> str:
    """Vectors are not judged."""
    return ""


def response_schema(request: EmbeddingsRequest) -> object | None:
    """Vectors are not judged."""
    return None
