"""The shape of Anthropic's Messages API, and of its count of tokens."""

from collections.abc import Iterator

import msgspec

from .call import Call, CallRefused, Tool, check_count, decode_body, faults_of, stops_of, text_of
from .chat import Json, encode
from .reply import MESSAGE_TOKENS, Reply
from .shape import Shape
from .text import TOKEN_CHARACTERS

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


class _Message(msgspec.Struct):
    role: str
    content: str | list[dict[str, object]] | None = None


class _ToolSpec(msgspec.Struct):
    name: str = ""
    input_schema: dict[str, object] | None = None


class _Choice(msgspec.Struct):
    type: str
    name: str = ""


class _Body(msgspec.Struct):
    model: str
    messages: list[_Message]
    max_tokens: int | None = None
    system: str | list[dict[str, object]] | None = None
    stream: bool | None = False
    stop_sequences: list[str] | None = None
    tools: list[_ToolSpec] | None = None
    tool_choice: _Choice | None = None
    metadata: dict[str, str] | None = None


_decode = msgspec.json.Decoder(_Body).decode


def read(raw: bytes, *, model: str) -> Call:
    """Read a request to a backend that serves `model`. Raises CallRefused."""
    call = read_counted(raw, model=model)
    if call.tokens_max is None:
        raise CallRefused(400, "max_tokens: Field required", param="max_tokens")
    return call


def read_counted(raw: bytes, *, model: str) -> Call:
    """The same for a request whose tokens are to be counted: it may leave `max_tokens` out."""
    body = decode_body(_decode, raw, model)
    check_count("max_tokens", body.max_tokens)
    if not body.messages:
        raise CallRefused(400, "messages: at least one message is required", param="messages")
    texts = [text_of(message.content) for message in body.messages]
    return Call(
        model=body.model,
        prompt=texts[-1],
        prompt_characters=sum(map(len, texts)) + len(text_of(body.system)),
        is_stream=bool(body.stream),
        tokens_max=body.max_tokens,
        stop=stops_of(body.stop_sequences),
        tool=_forced_tool(body),
        faults=faults_of(body.metadata),
    )


def count(raw: bytes, *, model: str) -> tuple[Call, bytes]:
    """What `count_tokens` is asked, and its answer. Raises CallRefused."""
    call = read_counted(raw, model=model)
    tokens = MESSAGE_TOKENS + -(-call.prompt_characters // TOKEN_CHARACTERS)
    return call, encode({"input_tokens": tokens})


def whole(reply: Reply, call: Call, *, created_s: int, fingerprint: str) -> bytes:
    """The body of an answer that is not streamed."""
    choice = reply.choices[0]
    block: Json = {"type": "text", "text": choice.text}
    if choice.tool:
        block = _tool_block(reply) | {"input": msgspec.Raw(choice.text.encode())}
    usage = _prompt_usage(reply) | {"output_tokens": reply.completion_tokens}
    return encode(
        _head(reply, call) | {"content": [block], "stop_reason": _reason(reply), "usage": usage}
    )


class Events:
    """Makes the events of one streamed answer."""

    def __init__(self, reply: Reply, call: Call, *, created_s: int, fingerprint: str) -> None:
        self._reply = reply
        self._call = call
        self._choice = reply.choices[0]
        self.length = len(self._choice.tokens)

    def opening(self) -> Iterator[bytes]:
        """The message without content, a ping, and the first block, empty so far."""
        usage = _prompt_usage(self._reply) | {"output_tokens": 1}
        message = _head(self._reply, self._call) | {"content": [], "usage": usage}
        yield _event("message_start", message=message)
        block: Json = {"type": "text", "text": ""}
        if self._choice.tool:
            block = _tool_block(self._reply) | {"input": {}}
        yield _event("content_block_start", index=0, content_block=block)
        yield _event("ping")

    def token(self, position: int) -> Iterator[bytes]:
        """The token at `position`."""
        text = self._choice.tokens[position]
        delta: Json = {"type": "text_delta", "text": text}
        if self._choice.tool:
            delta = {"type": "input_json_delta", "partial_json": text}
        yield _event("content_block_delta", index=0, delta=delta)

    def closing(self) -> Iterator[bytes]:
        """Why it stopped, and what it cost."""
        yield _event("content_block_stop", index=0)
        delta = {"stop_reason": _reason(self._reply), "stop_sequence": None}
        usage = {"output_tokens": self._reply.completion_tokens}
        yield _event("message_delta", delta=delta, usage=usage)

    def ending(self) -> Iterator[bytes]:
        """`message_stop`."""
        yield _event("message_stop")


def error(
    message: str, *, status: int, kind: str = "", param: str | None = None, code: str | None = None
) -> bytes:
    """An error body in Anthropic's shape: its type follows from the status."""
    named = _KINDS.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return encode({"type": "error", "error": {"type": named, "message": message}})


def error_event(body: bytes) -> bytes:
    """An error body as an event."""
    return b"event: error\ndata: %b\n\n" % body


def _forced_tool(body: _Body) -> Tool | None:
    choice = body.tool_choice
    for tool in body.tools or ():
        if choice is not None and (choice.type == "any" or choice.name == tool.name):
            return Tool(tool.name, tool.input_schema or {}, is_named=False)
    return None


def _reason(reply: Reply) -> str:
    finish = reply.choices[0].finish_reason
    return _REASONS.get(finish, finish)


def _head(reply: Reply, call: Call) -> Json:
    return {
        "id": f"msg_{reply.id.removeprefix('chatcmpl-')}",
        "type": "message",
        "role": "assistant",
        "model": call.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _tool_block(reply: Reply) -> Json:
    name = reply.choices[0].tool
    return {"type": "tool_use", "id": f"toolu_{reply.id[9:33]}", "name": name}


def _prompt_usage(reply: Reply) -> Json:
    """Here the cached tokens stand beside the input, not inside it."""
    return {
        "input_tokens": reply.prompt_tokens - reply.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": reply.cached_tokens,
    }


def _event(type: str, **members: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (type.encode(), encode({"type": type} | members))


SHAPE = Shape("messages", read, whole, Events, error, error_event)
