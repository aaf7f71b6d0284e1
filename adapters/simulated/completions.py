"""The shape of the legacy completions API: one prompt in, text out."""

from collections.abc import Iterator

import msgspec

from . import chat
from .call import Call, StreamOptions, check_count, decode_body, faults_of, inputs_of, stops_of
from .chat import DONE, Json, encode
from .reply import Choice, Reply
from .shape import Shape, data_event

_OBJECT = "text_completion"


class _Body(msgspec.Struct):
    model: str
    prompt: str | list[object] = ""
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: int | None = 1
    max_tokens: int | None = None
    stop: str | list[str] | None = None
    logprobs: int | None = None
    metadata: dict[str, str] | None = None


_decode = msgspec.json.Decoder(_Body).decode


def read(raw: bytes, *, model: str) -> Call:
    """Read a request to a backend that serves `model`. Raises CallRefused."""
    body = decode_body(_decode, raw, model)
    check_count("n", body.n)
    check_count("max_tokens", body.max_tokens)
    texts = inputs_of(body.prompt)
    return Call(
        model=body.model,
        prompt=texts[-1] if texts else "",
        prompt_characters=sum(map(len, texts)),
        is_stream=bool(body.stream),
        include_usage=bool(body.stream_options and body.stream_options.include_usage),
        choices=body.n or 1,
        visible_tokens_max=body.max_tokens,
        stop=stops_of(body.stop),
        wants_logprobs=body.logprobs is not None,
        faults=faults_of(body.metadata),
    )


def whole(reply: Reply, call: Call, *, created_s: int, fingerprint: str) -> bytes:
    """The body of an answer that is not streamed."""
    choices = [
        _choice(index, choice.text, choice.finish_reason, _logprobs(choice, call, slice(None)))
        for index, choice in enumerate(reply.choices)
    ]
    head = _head(reply, call, created_s, fingerprint)
    return encode(head | {"choices": choices, "usage": chat.usage(reply)})


class Chunks:
    """Makes the events of one streamed answer."""

    def __init__(self, reply: Reply, call: Call, *, created_s: int, fingerprint: str) -> None:
        self._reply = reply
        self._call = call
        self._head = _head(reply, call, created_s, fingerprint)
        self.length = max((len(choice.tokens) for choice in reply.choices), default=0)

    def opening(self) -> Iterator[bytes]:
        """Nothing comes before the first token."""
        yield from ()

    def token(self, position: int) -> Iterator[bytes]:
        """Every choice's token at `position`."""
        for index, choice in enumerate(self._reply.choices):
            if position < len(choice.tokens):
                logprobs = _logprobs(choice, self._call, slice(position, position + 1))
                yield self._event(_choice(index, choice.tokens[position], None, logprobs))

    def closing(self) -> Iterator[bytes]:
        """The finish_reason of every choice."""
        for index, choice in enumerate(self._reply.choices):
            yield self._event(_choice(index, "", choice.finish_reason, None))

    def ending(self) -> Iterator[bytes]:
        """Usage where it was asked for, and [DONE]."""
        if self._call.include_usage:
            usage: Json = {"choices": [], "usage": chat.usage(self._reply)}
            yield data_event(encode(self._head | usage))
        yield DONE

    def _event(self, choice: Json) -> bytes:
        body = self._head | {"choices": [choice]}
        if self._call.include_usage:
            body["usage"] = None
        return data_event(encode(body))


def _head(reply: Reply, call: Call, created_s: int, fingerprint: str) -> Json:
    return {
        "id": reply.id.replace("chatcmpl", "cmpl"),
        "object": _OBJECT,
        "created": created_s,
        "model": call.model,
        "system_fingerprint": fingerprint,
    }


def _choice(index: int, text: str, finish_reason: str | None, logprobs: Json | None) -> Json:
    return {"text": text, "index": index, "logprobs": logprobs, "finish_reason": finish_reason}


def _logprobs(choice: Choice, call: Call, part: slice) -> Json | None:
    if not call.wants_logprobs or choice.logprobs is None:
        return None
    return {"tokens": choice.tokens[part], "token_logprobs": choice.logprobs[part]}


SHAPE = Shape("completions", read, whole, Chunks, chat.error, data_event)
