"""The endpoints that are routed by policy: what differs between them, in one table.

A request's path picks its row. Everything in a row is constant and made once; what is the same
for all (deciding, asking, retrying, holding, recording) never asks which endpoint it serves.

    reads the request    `parse`, then `read_features`; `prompt_text` and `response_schema` for
                         what judges an answer
    reads the answer     `make_reader`; it also says when an answer is complete
    asks for more        `adds_usage`, `adds_logprobs`: whether the API has these switches
    speaks in our name   `shape` of errors, `cut_event` at the end of a stream that was cut

To add one: a request type with its features in `policies`, a reader in `adapters`, a row here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from adapters.answer_reader import AnswerReader
from adapters.chat_reader import ChatReader
from adapters.embeddings_reader import EmbeddingsReader
from adapters.messages_reader import MessagesReader, TokenCountReader
from adapters.responses_reader import ResponsesReader
from policies import (
    completion_features,
    embeddings_features,
    features,
    messages_features,
    responses_features,
)
from policies.asked import Features

from . import errors
from .errors import Shape


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row. The functions that take a request take what this row's `parse` returns."""

    api: str
    """The word records, exports and adapters know it by."""
    path: bytes
    shape: Shape
    parse: Callable[[bytes], Any]
    """From body bytes; raises policies.request.RequestError."""
    read_features: Callable[..., Features]
    prompt_text: Callable[[Any], str]
    response_schema: Callable[[Any], object | None]
    make_reader: Callable[[int, bool], AnswerReader]
    """From the number of choices and whether the answer's text will be judged."""
    cut_event: Callable[[AnswerReader], bytes]
    """Ends a stream that its backend cut; clients raise on it."""
    adds_usage: bool = False
    """`stream_options.include_usage` may be asked for, and hidden again."""
    adds_logprobs: bool = False
    """`logprobs: true` may be asked for, and hidden again."""
    is_judged: bool = True
    """A route's confidence applies: an answer here is something a model said."""
    keeps_responses: bool = False
    """Its answers can be gone on from, by their id and with the backend that made them."""
    compares_vectors: bool = False
    """Only backends that give the same vectors may stand in for each other."""


CHAT: Final = Endpoint(
    api="chat",
    path=b"/v1/chat/completions",
    shape="openai",
    parse=features.parse_chat,
    read_features=features.read_features,
    prompt_text=features.prompt_text,
    response_schema=features.response_schema,
    make_reader=ChatReader,
    cut_event=errors.cut_data,
    adds_usage=True,
    adds_logprobs=True,
)

COMPLETIONS: Final = Endpoint(
    api="completions",
    path=b"/v1/completions",
    shape="openai",
    parse=completion_features.parse_completion,
    read_features=completion_features.read_features,
    prompt_text=completion_features.prompt_text,
    response_schema=completion_features.response_schema,
    make_reader=ChatReader,
    cut_event=errors.cut_data,
    adds_usage=True,
)

RESPONSES: Final = Endpoint(
    api="responses",
    path=b"/v1/responses",
    shape="openai",
    parse=responses_features.parse_response,
    read_features=responses_features.read_features,
    prompt_text=responses_features.prompt_text,
    response_schema=responses_features.response_schema,
    make_reader=ResponsesReader,
    cut_event=errors.cut_response,
    keeps_responses=True,
)

EMBEDDINGS: Final = Endpoint(
    api="embeddings",
    path=b"/v1/embeddings",
    shape="openai",
    parse=embeddings_features.parse_embeddings,
    read_features=embeddings_features.read_features,
    prompt_text=embeddings_features.prompt_text,
    response_schema=embeddings_features.response_schema,
    make_reader=EmbeddingsReader,
    cut_event=errors.cut_data,
    is_judged=False,
    compares_vectors=True,
)

MESSAGES: Final = Endpoint(
    api="messages",
    path=b"/v1/messages",
    shape="anthropic",
    parse=messages_features.parse_messages,
    read_features=messages_features.read_features,
    prompt_text=messages_features.prompt_text,
    response_schema=messages_features.response_schema,
    make_reader=MessagesReader,
    cut_event=errors.cut_event,
)

COUNT_TOKENS: Final = replace(
    MESSAGES,
    api="count_tokens",
    path=b"/v1/messages/count_tokens",
    make_reader=TokenCountReader,
    is_judged=False,
)

_TABLE: Final = (CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS, MESSAGES, COUNT_TOKENS)

ENDPOINTS: Final[Mapping[bytes, Endpoint]] = {one.path: one for one in _TABLE}
"""By path."""


def shape_for(path: bytes) -> Shape:
    """How errors are written on a path, whether it is served or not."""
    return "anthropic" if path.startswith(MESSAGES.path) else "openai"
