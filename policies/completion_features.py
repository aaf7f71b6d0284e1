"""A legacy completion request read for the decision: `/v1/completions`."""

from collections.abc import Mapping

import msgspec

from .asked import Features
from .envelope import plain, positive, read_envelope
from .identity import conversation_of, read_labels, task_of
from .request import CompletionRequest

CHOICES_MAX = 1024
"""More prompts in one request are counted as so many; OpenAI allows fewer."""

_decode = msgspec.json.Decoder(CompletionRequest).decode


def parse_completion(body: bytes) -> CompletionRequest:
    """Read the envelope. Raises RequestError naming the parameter at fault."""
    return read_envelope(_decode, body)


def read_features(
    request: CompletionRequest,
    *,
    body_bytes: int,
    label_headers: Mapping[str, str],
    conversation_header: str | None,
    caller: str | None,
) -> Features:
    """The features of a request; see features.read_features."""
    labels, ignored = read_labels(label_headers, request.metadata)
    usage = request.stream_options
    prompt = bytes(request.prompt)
    return Features(
        model=request.model,
        labels=labels,
        labels_ignored=ignored,
        task=labels.get("task") or task_of(b"", b""),
        conversation=conversation_of(conversation_header, caller, b"", prompt),
        user=request.user if isinstance(request.user, str) else None,
        prompt_bytes=len(prompt) or body_bytes,
        max_tokens=positive(request.max_tokens),
        is_stream=request.stream is True,
        choices=(positive(request.n) or 1) * _prompts(request.prompt),
        has_tools=False,
        has_images=False,
        response_format=None,
        wants_logprobs=request.logprobs is not None,
        include_usage=isinstance(usage, dict) and usage.get("include_usage") is True,
    )


def prompt_text(request: CompletionRequest) -> str:
    """Every prompt that is text, one a line."""
    prompt = plain(request.prompt)
    prompts = prompt if isinstance(prompt, list) else [prompt]
    return "\n".join(one for one in prompts if isinstance(one, str))


def response_schema(request: CompletionRequest) -> object | None:
    """This API knows none."""
    return None


def _prompts(raw: msgspec.Raw) -> int:
    """How many prompts one request holds: a list of texts or of token lists is several."""
    if bytes(raw)[:1] != b"[":
        return 1
    prompts = plain(raw)
    if not isinstance(prompts, list) or not prompts or isinstance(prompts[0], int):
        return 1
    return min(len(prompts), CHOICES_MAX)
