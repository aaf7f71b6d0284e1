"""What a request asks of a simulated backend, read once from its body; chat, and what all share.

As strict as the real API where clients notice (messages missing or empty, an unknown model,
`n` out of range), and deaf to everything it does not know.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import msgspec

from .faults import NO_FAULTS, Faults, parse_faults

CHOICES_MAX = 128
TOP_LOGPROBS_MAX = 20


class CallRefused(Exception):
    """The request is answered with `status` and an error of the given type, code and param."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        kind: str = "invalid_request_error",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model must call. `is_named`: the request names this very one."""

    name: str
    parameters: dict[str, object]
    is_named: bool


@dataclass(frozen=True, slots=True)
class Call:
    """One chat completion request. `schema` is {} for json_object, None for text."""

    model: str
    prompt: str
    """Text of the last user message; key of the known answers."""
    prompt_characters: int
    """Of all messages."""
    is_stream: bool = False
    include_usage: bool = False
    choices: int = 1
    visible_tokens_max: int | None = None
    tokens_max: int | None = None
    """Reasoning included (`max_completion_tokens`)."""
    stop: tuple[str, ...] = ()
    wants_logprobs: bool = False
    top_logprobs: int = 0
    schema: dict[str, object] | None = None
    tool: Tool | None = None
    faults: Faults = field(default=NO_FAULTS)
    previous: str | None = None
    """The response it goes on from."""


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = False


class _JsonSchema(msgspec.Struct):
    schema: dict[str, object] = {}


class _ResponseFormat(msgspec.Struct):
    type: str
    json_schema: _JsonSchema | None = None


class _Function(msgspec.Struct):
    name: str
    parameters: dict[str, object] | None = None


class _ToolSpec(msgspec.Struct):
    type: str = "function"
    function: _Function | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | list[dict[str, object]] | None = None


class HasModel(Protocol):
    """Every request names its model."""

    model: str


Body = TypeVar("Body", bound=HasModel)


class _Body(msgspec.Struct):
    model: str
    messages: list[_Message]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: int | None = 1
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    logprobs: bool | None = False
    top_logprobs: int | None = None
    response_format: _ResponseFormat | None = None
    tools: list[_ToolSpec] | None = None
    tool_choice: str | _ToolSpec | None = None
    metadata: dict[str, str] | None = None


_decode_body = msgspec.json.Decoder(_Body).decode


def read_call(raw: bytes, *, model: str) -> Call:
    """Read a request to a backend that serves `model`. Raises CallRefused."""
    body = decode_body(_decode_body, raw, model)
    if not body.messages:
        raise CallRefused(
            400,
            "Invalid 'messages': empty array. Expected an array with minimum length 1.",
            code="empty_array",
            param="messages",
        )
    _check_bounds(body)
    texts = [text_of(message.content) for message in body.messages]
    asked = [
        text for message, text in zip(body.messages, texts, strict=True) if message.role == "user"
    ]
    return Call(
        model=body.model,
        prompt=asked[-1] if asked else texts[-1],
        prompt_characters=sum(map(len, texts)),
        is_stream=bool(body.stream),
        include_usage=bool(body.stream_options and body.stream_options.include_usage),
        choices=body.n or 1,
        visible_tokens_max=body.max_tokens,
        tokens_max=body.max_completion_tokens,
        stop=stops_of(body.stop),
        wants_logprobs=bool(body.logprobs),
        top_logprobs=body.top_logprobs or 0,
        schema=_schema(body.response_format),
        tool=_forced_tool(body),
        faults=faults_of(body.metadata),
    )


def decode_body(decode: Callable[[bytes], Body], raw: bytes, model: str) -> Body:
    """A body for the one model that is served. Raises CallRefused."""
    body = _decoded(decode, raw)
    if body.model != model:
        message = f"The model `{body.model}` does not exist or you do not have access to it."
        raise CallRefused(404, message, code="model_not_found")
    return body


def _decoded(decode: Callable[[bytes], Body], raw: bytes) -> Body:
    try:
        return decode(raw)
    except msgspec.ValidationError as error:
        message = str(error)
        if "required field `messages`" in message:
            raise CallRefused(
                400,
                "Missing required parameter: 'messages'.",
                code="missing_required_parameter",
                param="messages",
            ) from None
        if "required field `model`" in message:
            raise CallRefused(400, "you must provide a model parameter") from None
        raise CallRefused(400, f"Invalid request: {message}", code="invalid_type") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise CallRefused(400, "We could not parse the JSON body of your request.") from None


def _check_bounds(body: _Body) -> None:
    check_count("n", body.n, CHOICES_MAX)
    check_count("max_tokens", body.max_tokens)
    check_count("max_completion_tokens", body.max_completion_tokens)
    if body.top_logprobs is not None and not 0 <= body.top_logprobs <= TOP_LOGPROBS_MAX:
        message = f"Invalid 'top_logprobs': expected 0 to {TOP_LOGPROBS_MAX}."
        raise CallRefused(400, message, param="top_logprobs")


def check_count(name: str, value: int | None, most: int | None = None) -> None:
    """Raise CallRefused where a count is below one, or above `most`."""
    if value is not None and value < 1:
        raise CallRefused(
            400,
            f"Invalid '{name}': integer below minimum value. Expected a value >= 1, "
            f"but got {value} instead.",
            code="integer_below_min_value",
            param=name,
        )
    if value is not None and most is not None and value > most:
        raise CallRefused(
            400,
            f"Invalid '{name}': integer above maximum value. Expected a value <= {most}, "
            f"but got {value} instead.",
            code="integer_above_max_value",
            param=name,
        )


def stops_of(stop: str | list[str] | None) -> tuple[str, ...]:
    """One word or several that end an answer."""
    return (stop,) if isinstance(stop, str) else tuple(stop or ())


def inputs_of(asked: str | list[object]) -> list[str]:
    """The texts of an input: one, several, or lists of tokens, taken as they are spelt."""
    if isinstance(asked, str):
        return [asked]
    if asked and isinstance(asked[0], int):
        return [str(asked)]
    return [item if isinstance(item, str) else str(item) for item in asked]


def text_of(content: str | list[dict[str, object]] | None) -> str:
    """The texts of a content, one a line."""
    if content is None or isinstance(content, str):
        return content or ""
    texts = [part["text"] for part in content if isinstance(part.get("text"), str)]
    return "\n".join(str(text) for text in texts)


def _schema(response_format: _ResponseFormat | None) -> dict[str, object] | None:
    if response_format is None or response_format.type not in ("json_schema", "json_object"):
        return None
    wrapped = response_format.json_schema
    return wrapped.schema if wrapped and response_format.type == "json_schema" else {}


def _forced_tool(body: _Body) -> Tool | None:
    """The function `tool_choice` makes the model call; None where it may answer in words."""
    functions = [tool.function for tool in body.tools or () if tool.function]
    choice = body.tool_choice
    if isinstance(choice, _ToolSpec) and choice.function:
        named = choice.function.name
        for function in functions:
            if function.name == named:
                return Tool(named, function.parameters or {}, is_named=True)
        raise CallRefused(400, f"Tool choice '{named}' not found in 'tools'.", param="tool_choice")
    if choice == "required" and functions:
        return Tool(functions[0].name, functions[0].parameters or {}, is_named=False)
    return None


def faults_of(metadata: dict[str, str] | None) -> Faults:
    """What `metadata.simulate` asks for. Raises CallRefused."""
    try:
        return parse_faults((metadata or {}).get("simulate", ""))
    except ValueError as error:
        raise CallRefused(400, f"metadata.simulate: {error}", param="metadata") from None
