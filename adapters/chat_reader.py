"""The side-reader of completions, chat and legacy: how each choice ended, its text and logprobs.

Completeness follows WIRE section 6: `[DONE]` was seen, or every choice had its `finish_reason`.
What is the same for every API stands in answer_reader.py.
"""

from typing import Final

import msgspec
from msgspec import UNSET

from pointsman.tokens import Usage

from .answer_reader import LOGPROBS_MAX, AnswerReader
from .completion import (
    Choice,
    Completion,
    Logprobs,
    Message,
    ReportedUsage,
    decode_completion,
    salvage_completion,
)

CHOICES_MAX: Final = 1024
"""Choices whose end is remembered; OpenAI allows 128."""


class ChatReader(AnswerReader):
    """Reads one completion."""

    _has_seen_done = False

    def __init__(self, choices: int = 1, keeps_text: bool = True) -> None:
        """`keeps_text` False: nobody will judge the answer, so chunks of text are not parsed."""
        super().__init__(choices, keeps_text)
        self._is_skipping = not keeps_text and choices == 1
        self._finished: set[int] = set()

    @property
    def is_complete(self) -> bool:
        """The upstream has said that its answer is whole, or nobody but the client can read it."""
        if len(self._finished) >= self.choices:
            return True
        if self._has_seen_done:
            return self.error is None  # vLLM reports a failure and says [DONE] all the same
        return self._decoder is not None and self._decoder.state == "opaque"

    def read_payload(self, payload: bytes) -> None:
        """Read the data of one event."""
        self.has_data = True
        if self._is_skipping and self.has_answer and _says_nothing(payload):
            return
        if payload.startswith(b"[DONE]"):
            self._has_seen_done = True
            self.has_done = self._decoder is None
        else:
            self._read(payload)

    def _says_done(self) -> bool:
        return self._has_seen_done

    def _read(self, payload: bytes) -> bool:
        """False where it is not a JSON object."""
        try:
            completion = decode_completion(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.is_unparsed = True
            salvaged = salvage_completion(payload)
            if salvaged is None:
                return False
            completion = salvaged
        self._take(completion)
        return True

    def _take(self, completion: Completion) -> None:
        if completion.error is not UNSET and bytes(completion.error) != b"null":
            self.error = bytes(completion.error)
        identity, model, usage = completion.id, completion.model, completion.usage
        if identity is not None and self.response_id is None:
            self.response_id = identity
        if model is not None:
            self.model = model
        if usage is not None:
            self.usage = _usage(usage)
        for choice in completion.choices or ():
            self._take_choice(choice)

    def _take_choice(self, choice: Choice) -> None:
        self.has_answer = True
        index = choice.index or 0
        reason = choice.finish_reason
        if reason is not None:
            if len(self._finished) < CHOICES_MAX:
                self._finished.add(index)
            if index == 0 or self.finish_reason is None:
                self.finish_reason = reason
        if index != 0:
            return
        message = choice.message or choice.delta
        if message is not None:
            self._take_message(message)
        elif choice.text is not None:
            self._add_text(choice.text)
        if choice.logprobs is not None:
            self._take_logprobs(choice.logprobs)

    def _take_logprobs(self, logprobs: Logprobs) -> None:
        room = LOGPROBS_MAX - len(self._logprobs)
        if logprobs.content:
            self._logprobs.extend([token.logprob for token in logprobs.content[:room]])
        elif logprobs.token_logprobs:  # the first token of an echoed prompt has none
            told = [one for one in logprobs.token_logprobs[:room] if one is not None]
            self._logprobs.extend(told)

    def _take_message(self, message: Message) -> None:
        if message.tool_calls:
            self.has_tool_calls = True
        if isinstance(message.content, str):
            self._add_text(message.content)


def _says_nothing(payload: bytes) -> bool:
    """Whether a chunk holds text and no more: a search instead of parsing and taking it apart.

    Inside JSON text quotes are escaped, so these words can only be the chunk's own members. From
    behind words are found in a third of the time.
    """
    return (
        payload.rfind(b'"finish_reason":null') >= 0
        and (payload.rfind(b'"usage"') < 0 or payload.rfind(b'"usage":null') >= 0)
        and payload.rfind(b'"error"') < 0
    )


def _usage(reported: ReportedUsage) -> Usage:
    prompt = reported.prompt_tokens_details
    completion = reported.completion_tokens_details
    return Usage(
        prompt=reported.prompt_tokens,
        completion=reported.completion_tokens,
        reasoning=completion.reasoning_tokens if completion else None,
        cached=prompt.cached_tokens if prompt else None,
        cache_write=prompt.cache_write_tokens if prompt else None,
    )
