"""Requests as types: the envelope of each API that is decoded; asked.py has what is made of it.

Types alone, so that what reads them (features.py) can be compiled.
"""

from typing import Any, Literal

import msgspec

from pointsman.errors import PointsmanError

ResponseFormat = Literal["json_object", "json_schema"]

NOTHING = msgspec.Raw(b"")


class RequestError(PointsmanError):
    """The client's request cannot be read. `param` and `code` as in OpenAI's error body."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code


class ChatRequest(msgspec.Struct, frozen=True):
    """The envelope of a chat completion request; everything but `model` and `stream` unjudged."""

    model: str
    stream: bool | None = None
    messages: msgspec.Raw = NOTHING
    tools: msgspec.Raw = NOTHING
    functions: msgspec.Raw = NOTHING
    metadata: Any = None
    user: Any = None
    max_tokens: Any = None
    max_completion_tokens: Any = None
    n: Any = None
    response_format: msgspec.Raw = NOTHING
    logprobs: Any = None
    stream_options: Any = None


class CompletionRequest(msgspec.Struct, frozen=True):
    """The envelope of a legacy completion request."""

    model: str
    stream: bool | None = None
    prompt: msgspec.Raw = NOTHING
    metadata: Any = None
    user: Any = None
    max_tokens: Any = None
    n: Any = None
    logprobs: Any = None
    stream_options: Any = None


class ResponsesRequest(msgspec.Struct, frozen=True):
    """The envelope of a request to create a response; the model may be left to others."""

    model: str | None = None
    stream: bool | None = None
    input: msgspec.Raw = NOTHING
    instructions: msgspec.Raw = NOTHING
    tools: msgspec.Raw = NOTHING
    metadata: Any = None
    user: Any = None
    max_output_tokens: Any = None
    text: msgspec.Raw = NOTHING
    previous_response_id: Any = None


class EmbeddingsRequest(msgspec.Struct, frozen=True):
    """The envelope of an embeddings request."""

    model: str
    stream: bool | None = None
    input: msgspec.Raw = NOTHING
    metadata: Any = None
    user: Any = None


class Message(msgspec.Struct):
    """One message; its content stays raw."""

    role: Any = None
    content: msgspec.Raw = NOTHING


class Function(msgspec.Struct):
    """A function's name."""

    name: str = ""


class Tool(msgspec.Struct):
    """A tool, in the present form or the older one of `functions`."""

    function: Function = msgspec.field(default_factory=Function)
    name: str = ""


class ResponseKind(msgspec.Struct):
    """The client's `response_format`."""

    type: Any = None
    json_schema: msgspec.Raw = NOTHING
