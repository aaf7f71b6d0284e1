"""The side-reader of the Responses API: what was answered, how it ended, what it cost.

A stream ends with `response.completed`, `.incomplete` or `.failed` (WIRE section 6) and has no
`[DONE]`; that last event repeats the whole response, so the thousands of deltas before it are
passed over unread. How an answer ended is told in the words of chat completions, so that records
and judges know one vocabulary.
"""

import re
from typing import Final

import msgspec
from msgspec import UNSET

from pointsman.tokens import Usage

from .answer_reader import LOGPROBS_MAX, AnswerReader
from .response import (
    Event,
    Item,
    Response,
    ResponseUsage,
    read_event,
    read_response,
    sequence_number,
)

_LAST_EVENTS: Final = ("response.completed", "response.incomplete", "response.failed")
_REASONS: Final = {"max_output_tokens": "length", "content_filter": "content_filter"}
_LAST_TYPE: Final = re.compile(rb'"type"[ ]?:[ ]?"response\.(?:completed|incomplete|failed)"')
_ID: Final = re.compile(rb'^\s*\{\s*"id"\s*:\s*"([^"\\]{1,256})"')
_MARKS_MAX: Final = 64
"""An event names its type within so many bytes, as every backend writes it."""


class ResponsesReader(AnswerReader):
    """Reads one response, `stream` or whole."""

    _has_last_event = False
    _is_streamed = False
    _last_payload = b""

    @property
    def is_complete(self) -> bool:
        """Its last event was seen, or nobody but the client can read it."""
        return self._has_last_event or super().is_complete

    @property
    def next_sequence_number(self) -> int:
        """The number of the event that would come next."""
        return sequence_number(self._last_payload) + 1

    def read_payload(self, payload: bytes) -> None:
        """Read the data of one event."""
        self.has_data = True
        self._is_streamed = True
        if payload.startswith(b"[DONE]"):
            return  # some servers end every stream with it
        self._last_payload = payload
        if self.has_answer and b".delta" in payload[:_MARKS_MAX]:
            return
        event, is_typed = read_event(payload)
        if not is_typed:
            self.is_unparsed = True
        if event is not None:
            self._take_event(event)

    def _read(self, payload: bytes) -> bool:
        response, is_typed = read_response(payload)
        if not is_typed:
            self.is_unparsed = True
        if response is None:
            return False
        if response.error is not UNSET and response.id is None:
            self._take_error(bytes(response.error))
        else:
            self.has_answer = True
            self._take(response)
        return True

    def read_large(self, start: bytes, tail: bytes) -> None:
        """The usage, and the id by which the answer may be asked for again."""
        super().read_large(start, tail)
        found = _ID.search(start)
        if found is not None:
            self.response_id = found[1].decode("ascii", "replace")

    def _read_start(self, start: bytes) -> None:
        if _LAST_TYPE.search(start):
            self._end()

    def _end(self) -> None:
        self._has_last_event = True
        self.has_done = self._decoder is None

    def _says_done(self) -> bool:
        return self._has_last_event

    def _take_event(self, event: Event) -> None:
        if event.type in _LAST_EVENTS:
            self._end()
        if event.response is not None:
            self.has_answer = True
            self._take(event.response)
        elif event.error is not UNSET:
            self._take_error(bytes(event.error))
        elif event.type == "error":
            members = {"message": event.message, "type": "server_error"}
            members |= {"param": event.param, "code": event.code}
            self.error = msgspec.json.encode(members)

    def _take_error(self, raw: bytes) -> None:
        if raw != b"null":
            self.error = raw

    def _take(self, response: Response) -> None:
        if response.id is not None and self.response_id is None:
            self.response_id = response.id
        if response.model is not None:
            self.model = response.model
        if response.usage is not None:
            self.usage = _usage(response.usage)
        if self._has_last_event or not self._is_streamed:
            for item in response.output or ():
                self._take_item(item)
            self.finish_reason = self._ending(response)

    def _ending(self, response: Response) -> str | None:
        if response.status == "completed":
            return "tool_calls" if self.has_tool_calls else "stop"
        if response.status == "incomplete" and response.incomplete_details is not None:
            reason = response.incomplete_details.reason or "incomplete"
            return _REASONS.get(reason, reason)
        return response.status

    def _take_item(self, item: Item) -> None:
        if item.type is not None and item.type.endswith("_call"):
            self.has_tool_calls = self.has_tool_calls or item.type in _CLIENT_CALLS
        if item.type != "message":
            return
        for part in item.content or ():
            self._add_text(part.text or "")
            room = LOGPROBS_MAX - len(self._logprobs)
            self._logprobs.extend([token.logprob for token in (part.logprobs or ())[:room]])


_CLIENT_CALLS: Final = ("function_call", "custom_tool_call", "computer_call", "local_shell_call")
"""Items that ask the client to do something; what ran at the provider is no answer to wait for."""


def _usage(reported: ResponseUsage) -> Usage:
    prompt = reported.input_tokens_details
    completion = reported.output_tokens_details
    return Usage(
        prompt=reported.input_tokens,
        completion=reported.output_tokens,
        reasoning=completion.reasoning_tokens if completion else None,
        cached=prompt.cached_tokens if prompt else None,
        cache_write=prompt.cache_write_tokens if prompt else None,
    )
