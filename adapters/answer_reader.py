"""What every side-reader of an answer does: watches what passes, changes nothing, never raises.

It learns from an answer, whole or streamed, what the record and the next decision need. Here
stands what is the same whatever the API: how an answer comes (whole, as events, compressed); a
subclass reads what one JSON document of its API says (`_read`) and when an answer is complete.
What cannot be read is marked `is_unparsed`; the bytes go their way regardless. An answer that
came compressed is decoded on the side.
"""

import json
import re
from typing import Final

from pointsman.tokens import Usage

from .content_coding import Decoder
from .sse import EventBuffer, event_data, only_data, split_events

TEXT_CHARS_MAX: Final = 1 << 20
"""Collected answer text beyond this is not judged; the bytes are recorded all the same."""
EVENT_BYTES_MAX: Final = 4 << 20
"""An event that comes in pieces is put together to be read up to this size."""
LOGPROBS_MAX: Final = 1 << 17
"""Token logprobs beyond this are not judged: as many as the longest context windows hold."""

START_BYTES: Final = 1024
"""So much of the beginning of something too large is looked at."""
_USAGE: Final = re.compile(rb'"usage"[ \t\r\n]*:[ \t\r\n]*(?=\{)')
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class AnswerReader:
    """Reads one answer; `choices` is how many were asked for."""

    # Defaults stand on the class: setting twenty of them per attempt costs 1 us.
    usage = Usage()
    finish_reason: str | None = None
    model: str | None = None
    response_id: str | None = None
    error: bytes | None = None
    """A JSON object: the error the backend reported inside an answer of status 200."""
    has_done = False
    """Nothing of the answer is to come: its last event was seen, and the end of its coding."""
    has_data = False
    has_answer = False
    has_tool_calls = False
    is_unparsed = False
    _decoder: Decoder | None = None
    _events: EventBuffer | None = None
    _text_chars = 0

    def __init__(self, choices: int = 1, keeps_text: bool = True) -> None:
        """`keeps_text` False: nobody will judge the answer, so its text need not be collected."""
        self.choices = choices
        self.keeps_text = keeps_text
        self._text: list[str] = []
        self._logprobs: list[float] = []
        self._pieces: list[bytes] = []
        """Of an event too large to be held on its way; see `read_piece`."""
        self._pieces_bytes = 0

    @property
    def is_complete(self) -> bool:
        """The upstream has said that its answer is whole, or nobody but the client can read it."""
        return self._decoder is not None and self._decoder.state == "opaque"

    @property
    def text(self) -> str | None:
        """The first choice's text so far; None where there was none."""
        return "".join(self._text) if self._text else None

    @property
    def tokens_seen(self) -> int:
        """Tokens of the first choice so far; by its pieces where no logprobs tell them apart."""
        return max(len(self._text), len(self._logprobs))

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
        return self._read(body.removeprefix(_BYTE_ORDER_MARK))

    def read_large(self, start: bytes, tail: bytes) -> None:
        """Read of an answer too large to be read whole what its two ends tell: the usage."""
        self.is_unparsed = True
        usage = usage_in(tail)
        if usage is not None and self._decoder is None:
            is_unparsed_before = self.is_unparsed
            self._read(b'{"usage":%b}' % usage)
            self.is_unparsed = is_unparsed_before
        self.has_answer = True

    def read_piece(self, data: bytes) -> None:
        """A piece of an event that is not whole yet; `read_events` with its end reads it."""
        self.has_data = True
        self._pieces_bytes += len(data)
        if self._pieces_bytes <= EVENT_BYTES_MAX or not self._pieces:
            self._pieces.append(data)

    def read_events(self, data: bytes) -> None:
        """Read whole events of a stream; of a coded one, any piece."""
        if self._decoder is not None:
            self._read_coded(self._decoder, data)
            return
        if self._pieces:
            data = self._put_together(data)
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
        self._read(payload)

    def _read_start(self, start: bytes) -> None:
        """Read the beginning of an event too large to be read, now that it has ended."""

    def _put_together(self, data: bytes) -> bytes:
        """The event that has ended, with what stands behind it; without it if it is too large."""
        pieces, self._pieces = self._pieces, []
        size, self._pieces_bytes = self._pieces_bytes + len(data), 0
        if size <= EVENT_BYTES_MAX:
            return b"".join([*pieces, data])
        self.is_unparsed = True
        self._read_start(pieces[0][:START_BYTES])
        _, *behind = split_events(data)
        return b"".join(behind)

    def _read(self, payload: bytes) -> bool:
        """Read one JSON document: an answer, or the data of an event. False where it is none."""
        raise NotImplementedError

    def _says_done(self) -> bool:
        """Whether the last event of the answer has been read."""
        raise NotImplementedError

    def _read_coded(self, decoder: Decoder, data: bytes) -> None:
        assert self._events is not None
        ready = self._events.feed(decoder.feed(data))
        if decoder.state == "ended":
            ready += self._events.rest()
        if self._events.is_within_event:
            self.read_piece(ready)
            return
        if self._pieces:
            ready = self._put_together(ready)
        for event in split_events(ready):
            payload = event_data(event)
            if payload is not None:
                self.read_payload(payload)
        if decoder.state == "opaque" or decoder.state == "broken":
            self.has_data = True  # the client may make more of it
        self.has_done = self._says_done() and decoder.state == "ended"

    def _add_text(self, text: str) -> None:
        if text and self._text_chars < TEXT_CHARS_MAX:
            self._text.append(text)
            self._text_chars += len(text)


def usage_in(tail: bytes) -> bytes | None:
    """The last member `usage` in the end of an answer, as JSON; None where there is none."""
    ends = [found.end() for found in _USAGE.finditer(tail)]
    if not ends:
        return None
    try:
        text = tail[ends[-1] :].decode("utf-8", "replace")
        usage, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return json.dumps(usage).encode()
