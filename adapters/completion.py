"""One completion, whole or a chunk of a stream, as far as this program reads it.

Chat and legacy completions are one type: their members have the same names and meanings.

Answers are decoded into types. Where one member is not of its type, or a string holds half a
surrogate pair (a token stream may cut an emoji in two), a slower second reading salvages the
rest: a backend that spells its `id` as a number has still finished its answer.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

TOKENS_MAX = 1 << 40
"""A count of tokens beyond this is no count."""

Tokens = Annotated[int, Meta(ge=0, le=TOKENS_MAX)]


class Logprob(Struct):
    logprob: float = 0.0


class Logprobs(Struct):
    content: list[Logprob] | None = None
    token_logprobs: list[float | None] | None = None
    """Of legacy completions."""


class PromptDetails(Struct):
    cached_tokens: Tokens | None = None
    cache_write_tokens: Tokens | None = None


class CompletionDetails(Struct):
    reasoning_tokens: Tokens | None = None


class ReportedUsage(Struct):
    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class Message(Struct):
    content: object = None
    tool_calls: list[Raw] | None = None
    refusal: str | None = None


class Choice(Struct):
    index: int | None = 0
    finish_reason: str | None = None
    message: Message | None = None
    delta: Message | None = None
    text: str | None = None
    """Of legacy completions."""
    logprobs: Logprobs | None = None


class Completion(Struct):
    id: str | None = None
    model: str | None = None
    choices: list[Choice] | None = None
    usage: ReportedUsage | None = None
    error: Raw | UnsetType = UNSET


decode_completion = msgspec.json.Decoder(Completion).decode


def salvage_completion(payload: bytes) -> Completion | None:
    """What can be read of one that `decode_completion` refused; None: it is no JSON object."""
    members = loose_object(payload)
    return None if members is None else _salvage_completion(members)


def loose_object(payload: bytes) -> dict[str, Any] | None:
    """A JSON object read as most clients would: half surrogates pass, NaN does not."""
    try:
        members = json.loads(payload.decode("utf-8", "surrogatepass"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return members if isinstance(members, dict) else None


def _refuse(word: str) -> object:
    raise ValueError(word)


def _salvage_completion(members: Mapping[str, Any]) -> Completion:
    choices = members.get("choices")
    if not isinstance(choices, list):
        choices = []
    return Completion(
        id=fitting(members, "id", str),
        model=fitting(members, "model", str),
        choices=[_salvage_choice(choice) for choice in choices if isinstance(choice, dict)],
        usage=_salvage_usage(members.get("usage")),
        error=Raw(json.dumps(members["error"]).encode()) if "error" in members else UNSET,
    )


def _salvage_choice(members: Mapping[str, Any]) -> Choice:
    return Choice(
        index=fitting(members, "index", int),
        finish_reason=fitting(members, "finish_reason", str),
        message=_salvage_message(members.get("message")),
        delta=_salvage_message(members.get("delta")),
        text=fitting(members, "text", str),
        logprobs=fitting(members, "logprobs", Logprobs),
    )


def _salvage_message(members: object) -> Message | None:
    if not isinstance(members, dict):
        return None
    calls = members.get("tool_calls")
    return Message(
        content=fitting(members, "content", str),
        tool_calls=[Raw(b"{}")] * len(calls) if isinstance(calls, list) else None,
    )


def _salvage_usage(members: object) -> ReportedUsage | None:
    if not isinstance(members, dict):
        return None
    return ReportedUsage(
        prompt_tokens=fitting(members, "prompt_tokens", Tokens),
        completion_tokens=fitting(members, "completion_tokens", Tokens),
        prompt_tokens_details=fitting(members, "prompt_tokens_details", PromptDetails),
        completion_tokens_details=fitting(members, "completion_tokens_details", CompletionDetails),
    )


def fitting(members: Mapping[str, Any], name: str, kind: Any) -> Any:
    """A member where it is of its type, else None; half a surrogate pair reads as `?`."""
    value = members.get(name)
    if isinstance(value, str):
        value = value.encode("utf-8", "replace").decode()
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return None
