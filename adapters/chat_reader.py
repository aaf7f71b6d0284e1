"""The side-reader of chat completions: watches what passes, never changes it, never raises.

It learns from an answer, whole or streamed, what the record and the next decision need: the
usage, how each choice ended, the text and the token logprobs. What it cannot read it marks
`is_unparsed`; the bytes go their way regardless. Completeness follows WIRE section 6: `[DONE]`
was seen, or every choice had its `finish_reason`.
"""

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from pointsman.tokens import Usage

from .sse import event_data, split_events

TEXT_CHARS_MAX = 1 << 20
"""Collected answer text beyond this is not judged; the bytes are recorded all the same."""


class _Logprob(Struct):
    logprob: float = 0.0


class _Logprobs(Struct):
    content: list[_Logprob] | None = None


class _PromptDetails(Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _CompletionDetails(Struct):
    reasoning_tokens: int | None = None


class _Usage(Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Message(Struct):
    content: object = None
    tool_calls: list[Raw] | None = None
    refusal: str | None = None


class _Choice(Struct):
    index: int | None = 0
    finish_reason: str | None = None
    message: _Message | None = None
    delta: _Message | None = None
    logprobs: _Logprobs | None = None


class _Completion(Struct):
    id: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Raw | UnsetType = UNSET


_decode = msgspec.json.Decoder(_Completion).decode


class ChatReader:
    """Reads one chat completion, `stream` or whole; `choices` is how many were asked for."""

    __slots__ = (
        "_finished",
        "_logprobs",
        "_text",
        "_text_chars",
        "choices",
        "error",
        "finish_reason",
        "has_answer",
        "has_data",
        "has_done",
        "has_tool_calls",
        "is_unparsed",
        "model",
        "response_id",
        "usage",
    )

    def __init__(self, choices: int = 1) -> None:
        self.choices = choices
        self.usage = Usage()
        self.finish_reason: str | None = None
        self.model: str | None = None
        self.response_id: str | None = None
        self.error: bytes | None = None
        self.has_done = False
        self.has_data = False
        self.has_answer = False
        self.has_tool_calls = False
        self.is_unparsed = False
        self._finished: set[int] = set()
        self._text: list[str] = []
        self._text_chars = 0
        self._logprobs: list[float] = []

    @property
    def is_complete(self) -> bool:
        """The upstream has said that its answer is whole."""
        return self.has_done or len(self._finished) >= self.choices

    @property
    def text(self) -> str | None:
        """The first choice's text so far; None where there was none."""
        return "".join(self._text) if self._text else None

    @property
    def token_logprobs(self) -> tuple[float, ...] | None:
        """The first choice's token logprobs; None where none came."""
        return tuple(self._logprobs) if self._logprobs else None

    def read_whole(self, body: bytes) -> bool:
        """Read a non-streamed answer. False where it is not a JSON object at all."""
        if not self._read(body):
            return _is_json_object(body)
        return True

    def read_events(self, data: bytes) -> None:
        """Read whole events of a stream."""
        for event in split_events(data):
            payload = event_data(event)
            if payload is not None:
                self.read_payload(payload)

    def read_payload(self, payload: bytes) -> None:
        """Read the data of one event."""
        self.has_data = True
        if payload == b"[DONE]":
            self.has_done = True
        else:
            self._read(payload)

    def _read(self, payload: bytes) -> bool:
        try:
            completion = _decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.is_unparsed = True
            return False
        self._take(completion)
        return True

    def _take(self, completion: _Completion) -> None:
        if completion.error is not UNSET and bytes(completion.error) != b"null":
            self.error = bytes(completion.error)
        if completion.id is not None and self.response_id is None:
            self.response_id = completion.id
        if completion.model is not None:
            self.model = completion.model
        if completion.usage is not None:
            self.usage = _usage(completion.usage)
        for choice in completion.choices or ():
            self._take_choice(choice)

    def _take_choice(self, choice: _Choice) -> None:
        self.has_answer = True
        index = choice.index or 0
        if choice.finish_reason is not None:
            self._finished.add(index)
            if index == 0 or self.finish_reason is None:
                self.finish_reason = choice.finish_reason
        if index != 0:
            return
        message = choice.message or choice.delta
        if message is not None:
            self._take_message(message)
        if choice.logprobs is not None and choice.logprobs.content:
            self._logprobs.extend(token.logprob for token in choice.logprobs.content)

    def _take_message(self, message: _Message) -> None:
        if message.tool_calls:
            self.has_tool_calls = True
        text = message.content
        if isinstance(text, str) and text and self._text_chars < TEXT_CHARS_MAX:
            self._text.append(text)
            self._text_chars += len(text)


def _usage(reported: _Usage) -> Usage:
    prompt = reported.prompt_tokens_details
    completion = reported.completion_tokens_details
    return Usage(
        prompt=reported.prompt_tokens,
        completion=reported.completion_tokens,
        reasoning=completion.reasoning_tokens if completion else None,
        cached=prompt.cached_tokens if prompt else None,
        cache_write=prompt.cache_write_tokens if prompt else None,
    )


def _is_json_object(body: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(body), dict)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
