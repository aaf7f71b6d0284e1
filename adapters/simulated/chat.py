"""The shapes of the chat completions API: a whole completion, its chunks, errors, models.

Members and their order are those of real answers (openai-openapi 2.3.0 and recorded streams).
"""

from collections.abc import Iterator

import msgspec

from .call import Call, read_call
from .reply import Choice, Reply
from .shape import Shape, data_event

OBJECT = "chat.completion"
CHUNK_OBJECT = "chat.completion.chunk"
DONE = b"data: [DONE]\n\n"

Json = dict[str, object]

encode = msgspec.json.encode


def completion(reply: Reply, call: Call, *, created_s: int, fingerprint: str) -> bytes:
    """The body of an answer that is not streamed."""
    return encode(
        {
            "id": reply.id,
            "object": OBJECT,
            "created": created_s,
            "model": call.model,
            "choices": [
                _whole_choice(index, choice, call, reply)
                for index, choice in enumerate(reply.choices)
            ],
            "usage": usage(reply),
            "service_tier": "default",
            "system_fingerprint": fingerprint,
        }
    )


class Chunks:
    """Makes the events of one streamed answer."""

    def __init__(self, reply: Reply, call: Call, *, created_s: int, fingerprint: str) -> None:
        self._reply = reply
        self._call = call
        self._head: Json = {
            "id": reply.id,
            "object": CHUNK_OBJECT,
            "created": created_s,
            "model": call.model,
            "service_tier": "default",
            "system_fingerprint": fingerprint,
        }

    def opening(self) -> Iterator[bytes]:
        """A choice's first chunk: its role, and the tool it calls."""
        for index, choice in enumerate(self._reply.choices):
            delta: Json = {"role": "assistant", "content": "", "refusal": None}
            if choice.tool:
                call = _tool_call(choice, self._reply, index) | {"index": 0}
                call["function"] = {"name": choice.tool, "arguments": ""}
                delta = {"role": "assistant", "content": None, "tool_calls": [call]}
            yield self._event([self._choice(index, delta)])

    def token(self, position: int) -> Iterator[bytes]:
        """Every choice's token at `position`; choices run side by side."""
        for index, choice in enumerate(self._reply.choices):
            if position >= len(choice.tokens):
                continue
            text = choice.tokens[position]
            delta: Json = {"content": text}
            if choice.tool:
                delta = {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}
            logprobs = _logprobs(choice, self._call, slice(position, position + 1))
            yield self._event([self._choice(index, delta, logprobs=logprobs)])

    def closing(self) -> Iterator[bytes]:
        """The finish_reason of every choice."""
        for index, choice in enumerate(self._reply.choices):
            yield self._event([self._choice(index, {}, finish_reason=choice.finish_reason)])

    def ending(self) -> Iterator[bytes]:
        """The chunk with usage and no choices, where it was asked for, and [DONE]."""
        if self._call.include_usage:
            yield data_event(encode(self._head | {"choices": [], "usage": usage(self._reply)}))
        yield DONE

    @property
    def length(self) -> int:
        """Tokens of the longest choice."""
        return max((len(choice.tokens) for choice in self._reply.choices), default=0)

    def _choice(
        self,
        index: int,
        delta: Json,
        *,
        logprobs: Json | None = None,
        finish_reason: str | None = None,
    ) -> Json:
        return {
            "index": index,
            "delta": delta,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
        }

    def _event(self, choices: list[Json]) -> bytes:
        body = self._head | {"choices": choices}
        if self._call.include_usage:
            body["usage"] = None
        return data_event(encode(body))


def usage(reply: Reply) -> Json:
    """Token counts; reasoning is inside completion, cached inside prompt."""
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": reply.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reply.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def error(
    message: str,
    *,
    kind: str,
    status: int = 400,
    param: str | None = None,
    code: str | None = None,
) -> bytes:
    """An error body in OpenAI's shape; all four members are always there."""
    return encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


def models(model: str) -> bytes:
    """The answer of GET /v1/models."""
    entry = {"id": model, "object": "model", "created": 1_700_000_000, "owned_by": "simulated"}
    return encode({"object": "list", "data": [entry]})


def _whole_choice(index: int, choice: Choice, call: Call, reply: Reply) -> Json:
    message: Json = {
        "role": "assistant",
        "content": None if choice.tool else choice.text,
        "refusal": None,
        "annotations": [],
    }
    if choice.tool:
        message["tool_calls"] = [_tool_call(choice, reply, index)]
    return {
        "index": index,
        "message": message,
        "logprobs": _logprobs(choice, call, slice(None)),
        "finish_reason": choice.finish_reason,
    }


def _tool_call(choice: Choice, reply: Reply, index: int) -> Json:
    return {
        "id": f"call_{reply.id[9:31]}{index:02d}",
        "type": "function",
        "function": {"name": choice.tool, "arguments": choice.text},
    }


def _logprobs(choice: Choice, call: Call, part: slice) -> Json | None:
    if not call.wants_logprobs or choice.logprobs is None or choice.tool:
        return None
    pairs = zip(choice.tokens[part], choice.logprobs[part], strict=True)
    content = [
        _token(token, logprob) | {"top_logprobs": _alternatives(token, logprob, call.top_logprobs)}
        for token, logprob in pairs
    ]
    return {"content": content, "refusal": None}


def _token(token: str, logprob: float) -> Json:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}


def _alternatives(token: str, logprob: float, count: int) -> list[Json]:
    """The token itself, then others, each a good deal less likely than the one before."""
    return [
        _token(token if rank == 0 else f"{token}{rank}", logprob - 2.0 * rank)
        for rank in range(count)
    ]


SHAPE = Shape("chat", read_call, completion, Chunks, error, data_event)
