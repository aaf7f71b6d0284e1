"""The side-reader of chat completions: watches what passes, never changes it, never raises.

It learns from an answer, whole or streamed, what the record and the next decision need: the
usage, how each choice ended, the text and the token logprobs. What it cannot read it marks
`is_unparsed`; the bytes go their way regardless. Completeness follows WIRE section 6: `[DONE]`
was seen, or every choice had its `finish_reason`. An answer that came compressed is decoded on
the side.
"""

from msgspec import UNSET

from pointsman.tokens import Usage

from .completion import Choice, Completion, Message, ReportedUsage, read_completion
from .content_coding import Decoder
from .sse import EventBuffer, event_data, only_data, split_events

TEXT_CHARS_MAX = 1 << 20
"""Collected answer text beyond this is not judged; the bytes are recorded all the same."""
LOGPROBS_MAX = 1 << 17
"""Token logprobs beyond this are not judged: as many as the longest context windows hold."""
CHOICES_MAX = 1024
"""Choices whose end is remembered; OpenAI allows 128."""


class ChatReader:
    """Reads one chat completion, `stream` or whole; `choices` is how many were asked for."""

    # Defaults stand on the class: setting twenty of them per attempt costs 1 us.
    usage = Usage()
    finish_reason: str | None = None
    model: str | None = None
    response_id: str | None = None
    error: bytes | None = None
    has_done = False
    """Nothing of the answer is to come: `[DONE]` was seen, and the end of its coding."""
    has_data = False
    has_answer = False
    has_tool_calls = False
    is_unparsed = False
    _has_seen_done = False
    _decoder: Decoder | None = None
    _events: EventBuffer | None = None
    _text_chars = 0

    def __init__(self, choices: int = 1, *, keeps_text: bool = True) -> None:
        """`keeps_text` False: nobody will judge the answer, so chunks of text are not parsed."""
        self.choices = choices
        self._is_skipping = not keeps_text and choices == 1
        self._finished: set[int] = set()
        self._text: list[str] = []
        self._logprobs: list[float] = []

    @property
    def is_complete(self) -> bool:
        """The upstream has said that its answer is whole, or nobody but the client can read it."""
        if len(self._finished) >= self.choices:
            return True
        if self._has_seen_done:
            return self.error is None  # vLLM reports a failure and says [DONE] all the same
        return self._decoder is not None and self._decoder.state == "opaque"

    @property
    def text(self) -> str | None:
        """The first choice's text so far; None where there was none."""
        return "".join(self._text) if self._text else None

    @property
    def token_logprobs(self) -> tuple[float, ...] | None:
        """The first choice's token logprobs; None where none came."""
        return tuple(self._logprobs) if self._logprobs else None

    def set_coding(self, coding: bytes | None) -> bool:
        """The answer's content-encoding, if any. True where its bytes are not to be cut or read."""
        if coding is None or coding.strip().lower() in (b"", b"identity"):
            return False
        self._decoder = Decoder(coding)
        self._events = EventBuffer()
        self.is_unparsed = True  # whoever reads the record finds coded bytes
        return True

    def read_whole(self, body: bytes) -> bool:
        """Read a non-streamed answer. False where it is not a JSON object at all."""
        if self._decoder is not None:
            body = self._decoder.feed(body)
            if self._decoder.state == "opaque":
                return True
        return self._read(body.removeprefix(b"\xef\xbb\xbf"))

    def read_events(self, data: bytes) -> None:
        """Read whole events of a stream; of a coded one, any piece."""
        if self._decoder is not None:
            self._read_coded(self._decoder, data)
            return
        line = only_data(data)
        if line is not None:
            self.read_payload(line)
            return
        for event in split_events(data):
            payload = event_data(event)
            if payload is not None:
                self.read_payload(payload)

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

    def _read_coded(self, decoder: Decoder, data: bytes) -> None:
        assert self._events is not None
        ready = self._events.feed(decoder.feed(data))
        if decoder.state == "ended":
            ready += self._events.rest()
        for event in split_events(ready):
            payload = event_data(event)
            if payload is not None:
                self.read_payload(payload)
        if decoder.state == "opaque" or decoder.state == "broken":
            self.has_data = True  # the client may make more of it
        self.has_done = self._has_seen_done and decoder.state == "ended"

    def _read(self, payload: bytes) -> bool:
        """False where it is not a JSON object."""
        completion, is_typed = read_completion(payload)
        if not is_typed:
            self.is_unparsed = True
        if completion is None:
            return False
        self._take(completion)
        return True

    def _take(self, completion: Completion) -> None:
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

    def _take_choice(self, choice: Choice) -> None:
        self.has_answer = True
        index = choice.index or 0
        if choice.finish_reason is not None:
            if len(self._finished) < CHOICES_MAX:
                self._finished.add(index)
            if index == 0 or self.finish_reason is None:
                self.finish_reason = choice.finish_reason
        if index != 0:
            return
        message = choice.message or choice.delta
        if message is not None:
            self._take_message(message)
        if choice.logprobs is not None and choice.logprobs.content:
            room = LOGPROBS_MAX - len(self._logprobs)
            self._logprobs.extend([token.logprob for token in choice.logprobs.content[:room]])

    def _take_message(self, message: Message) -> None:
        if message.tool_calls:
            self.has_tool_calls = True
        text = message.content
        if isinstance(text, str) and text and self._text_chars < TEXT_CHARS_MAX:
            self._text.append(text)
            self._text_chars += len(text)


def _says_nothing(payload: bytes) -> bool:
    """Whether a chunk holds text and no more: a search instead of parsing and taking it apart.

    Inside JSON text quotes are escaped, so these words can only be the chunk's own members.
    """
    return (
        b'"finish_reason":null' in payload
        and (b'"usage"' not in payload or b'"usage":null' in payload)
        and b'"error"' not in payload
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
