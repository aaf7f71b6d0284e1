"""The side-readers of Anthropic's Messages API: answers, and counts of tokens.

A stream is complete with `message_stop`; `error` may come as an event of its own, `ping` says
nothing. Usage comes twice: the prompt's at the beginning, the output's, growing, with the ending.
How an answer ended is told in the words of chat completions, so that records and judges know one
vocabulary; so is its usage, where cached tokens are part of the prompt.
"""

from typing import Final

from msgspec import UNSET

from pointsman.tokens import Usage

from .answer_reader import AnswerReader
from .message import Block, Message, MessageUsage, read_message

_REASONS: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_CLIENT_CALL: Final = "tool_use"
"""A piece of content that asks the client to do something."""
_MARK_BYTES: Final = 64
"""An event names its type within so many bytes."""


class MessagesReader(AnswerReader):
    """Reads one message, `stream` or whole."""

    _has_stopped = False

    @property
    def is_complete(self) -> bool:
        """`message_stop` was seen, or nobody but the client can read it."""
        return self._has_stopped or super().is_complete

    def read_payload(self, payload: bytes) -> None:
        """Read the data of one event."""
        start = payload[:_MARK_BYTES]
        if b'"ping"' in start:
            return
        self.has_data = True
        if not self.keeps_text and self.has_answer and b'"content_block_delta"' in start:
            return
        self._read(payload)

    def _read(self, payload: bytes) -> bool:
        message, is_typed = read_message(payload)
        if not is_typed:
            self.is_unparsed = True
        if message is None:
            return False
        if message.error is not UNSET:
            raw = bytes(message.error)
            if raw != b"null":
                self.error = raw
        elif message.type == "message_stop":
            self._has_stopped = True
            self.has_done = self._decoder is None
        else:
            self._take(message)
        return True

    def _says_done(self) -> bool:
        return self._has_stopped

    def _take(self, message: Message) -> None:
        """A whole message, or an event: their members do not collide."""
        if message.type in ("message", "message_start"):
            self.has_answer = True
        if message.message is not None:
            self._take(message.message)
        if message.id is not None and self.response_id is None:
            self.response_id = message.id
        if message.model is not None:
            self.model = message.model
        if message.usage is not None:
            self.usage = _usage(message.usage, self.usage)
        for block in message.content or ():
            self._take_block(block)
        if message.content_block is not None:
            self._take_block(message.content_block)
        reason = message.stop_reason
        if message.delta is not None:
            self._add_text(message.delta.text or "")
            reason = message.delta.stop_reason or reason
        if reason is not None:
            self.finish_reason = _REASONS.get(reason, reason)

    def _take_block(self, block: Block) -> None:
        if block.type == _CLIENT_CALL:
            self.has_tool_calls = True
        self._add_text(block.text or "")


class TokenCountReader(AnswerReader):
    """Reads the answer of `count_tokens`, which costs nothing."""

    usage = Usage(prompt=0, completion=0)

    def _read(self, payload: bytes) -> bool:
        message, _ = read_message(payload)
        if message is not None and message.error is not UNSET:
            self.error = bytes(message.error)
        else:
            self.has_answer = message is not None
        return message is not None

    def _says_done(self) -> bool:
        return False


def _usage(reported: MessageUsage, before: Usage) -> Usage:
    """What was reported, over what was known before: an event at the end repeats only some."""
    cached = _later(reported.cache_read_input_tokens, before.cached)
    written = _later(reported.cache_creation_input_tokens, before.cache_write)
    prompt = before.prompt
    if reported.input_tokens is not None:
        prompt = reported.input_tokens + (cached or 0) + (written or 0)
    return Usage(
        prompt=prompt,
        completion=_later(reported.output_tokens, before.completion),
        cached=cached,
        cache_write=written,
    )


def _later(now: int | None, before: int | None) -> int | None:
    return before if now is None else now
