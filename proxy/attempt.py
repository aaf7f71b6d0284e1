"""One call to one backend, from the moment it is asked to the end of its answer.

An attempt listens to its call, reads the answer on the side and tells its owner two things:
`attempt_streams` with whole events that may go to the client now, and `attempt_ended` once. A
held attempt (its confidence decides whether the client sees it) streams nothing and keeps all.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final, Literal

from adapters.answer_reader import START_BYTES, AnswerReader
from adapters.connection import ResponseHead
from adapters.content_coding import decoded
from adapters.edits import Prepared
from adapters.errors import UpstreamError
from adapters.pool import Call, Pool, StreamedBody
from adapters.refusals import Refusal, refusal_in, refusal_of
from adapters.retry_after import retry_after_s
from adapters.sse import EventBuffer
from adapters.target import Target
from policies.step import AsideKind, Outcome, OutcomeKind

from .owner import NOBODY, Owner
from .relay import hide_in_events, hide_logprobs

monotonic: Final = time.monotonic
HELD_BYTES_MAX: Final = 4 << 20
"""A whole answer is held to be read and judged up to this size; a larger one streams through."""
TAIL_BYTES: Final = 4096
"""Of a larger answer so much of its end is read: where some APIs tell the usage."""
ERROR_BYTES_MAX: Final = 1 << 20
"""An error body larger than this is a broken answer."""
DRAIN_S: Final = 1.0
"""A backend that said [DONE] gets this long to end its message, else is reset."""

Mode = Literal["whole", "events", "oversize"]


class Attempt:
    """States: asked -> answering -> ended. `failure` is None exactly for a whole answer."""

    # Defaults stand here, on the class: setting two dozen of them per attempt costs 1 us.
    _call: Call | None = None
    _mode: Mode = "whole"
    _events: EventBuffer | None = None
    _body_bytes = 0
    _start = b""
    _tail = b""
    head: ResponseHead | None = None
    failure: str | None = None
    failure_text = ""
    confidence: float | None = None
    raw_confidence: float | None = None  # what a fitted model has not been asked about yet
    cost_usd: float | None = None
    """From the reported usage; set when the attempt has ended."""
    is_coded = False
    """Compressed although we asked for identity: the bytes pass as they are."""
    has_streamed = False
    is_ended = False
    served_at_once = 1
    first_byte_s: float | None = None
    is_innocent = False
    """Its failure says nothing of the backend: the client's own deadline was over, say."""
    is_charged = False  # the retry budget has paid for it
    gate: Callable[["Attempt"], bool] | None = None
    """Asked with every piece of a held stream whether it is held on; it may end the attempt."""
    passes = False
    """Whatever the answer is, it streams through unread; errors alone are held."""
    is_head_only = False
    """The request was a HEAD: the answer ends with its head, whatever that says."""

    def __init__(
        self,
        owner: Owner,
        target: Target,
        prepared: Prepared,
        reader: AnswerReader,
        *,
        kind: OutcomeKind | AsideKind,
        is_held: bool,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._owner = owner
        self._loop = loop
        self._is_held = is_held
        self._body: list[bytes] = []
        self.target = target
        self.backend = target.backend
        self.prepared = prepared
        self.kind: OutcomeKind | AsideKind = kind
        self.reader = reader
        self.started_s = self.last_byte_s = self.ended_s = monotonic()

    def __repr__(self) -> str:
        state = "ended" if self.is_ended else "answering" if self.head else "asked"
        return f"<Attempt {self.kind} {self.backend.name} {state} {self.failure or ''}>"

    def start(self, pool: Pool, body: StreamedBody | None = None) -> None:
        """Send the request; may end at once where the backend is at its limit."""
        try:
            self._call = pool.call(self.prepared.payload, self, body)
        except UpstreamError as error:
            self._fail(error.kind, str(error))
        else:
            self.served_at_once = self._call.served_at_once

    def abort(self, failure: str, text: str) -> None:
        """Reset the backend's connection; the owner knows already and is not called."""
        if not self.is_ended:
            self._mark_ended(failure, text)
            if self._call is not None:
                self._call.abort()

    def lose(self, failure: str) -> None:
        """Reset it because the other of two attempts was first; nothing of it is an answer."""
        self.abort(failure, "another attempt was answered first")
        self.is_innocent, self._body = True, []

    def let_go(self) -> None:
        """Drop what it points at: exchange, attempt and call form a cycle, and leaving those to
        the garbage collector cost a tenth of all time and emptied the processor's caches."""
        self._owner = NOBODY
        self._call = None

    def hand_to(self, owner: Owner) -> None:
        """From now on another one is told."""
        self._owner = owner

    def send_more(self, data: bytes) -> None:
        """A piece of a body that is streamed."""
        if self._call is not None:
            self._call.send_more(data)

    def sent_all(self) -> None:
        """A body that is streamed is whole."""
        if self._call is not None:
            self._call.sent_all()

    def pause_reading(self) -> None:
        """Back-pressure from the client."""
        if self._call is not None:
            self._call.pause_reading()

    def resume_reading(self) -> None:
        """The client reads again."""
        if self._call is not None:
            self._call.resume_reading()

    @property
    def is_streaming(self) -> bool:
        """The answer comes as events."""
        return self._mode == "events"

    @property
    def is_between_events(self) -> bool:
        """A comment may be put behind what was passed on."""
        return self._events is not None and self._events.is_between_events

    @property
    def body(self) -> bytes:
        """What was kept of the answer's body, de-chunked, as the backend sent it."""
        if len(self._body) > 1:
            self._body = [b"".join(self._body)]
        return self._body[0] if self._body else b""

    def shown(self, data: bytes) -> bytes:
        """What of the answer's bytes the client is to see: not what only we asked for."""
        prepared = self.prepared
        if self.is_coded or self._mode == "oversize":
            return data
        if self._mode == "events":
            if prepared.hides_usage or prepared.hides_logprobs:
                return hide_in_events(
                    data, usage=prepared.hides_usage, logprobs=prepared.hides_logprobs
                )
            return data
        return hide_logprobs(data) if prepared.hides_logprobs else data

    @property
    def status(self) -> int | None:
        """The backend's HTTP status."""
        return None if self.head is None else self.head.status

    @property
    def waited_s(self) -> float:
        """Seconds the client waited for this backend before it could be given anything."""
        if self.has_streamed and self.first_byte_s is not None:
            return self.first_byte_s - self.started_s
        return (self.ended_s if self.is_ended else monotonic()) - self.started_s

    def outcome(self) -> Outcome:
        """What the policies need to say what comes next."""
        return Outcome(
            backend=self.backend.name,
            kind=self.kind,
            failure=self.failure,
            http_status=self.status,
            retryable=self._is_retryable(),
            retry_after_s=self._retry_after_s(),
            confidence=self.confidence,
            refusal=None if self.failure is None else self._refusal(),
            is_visible=self.has_streamed,
        )

    # -- Listener of the call -----------------------------------------------------------------

    def on_head(self, head: ResponseHead) -> None:
        self.head = head
        if self.passes:
            self._pass_head(head)
            return
        if head.status == 200 and head.is_event_stream:
            if not self.prepared.is_stream:
                self._refuse("not_json", "the backend streams where no stream was asked for")
                return
            self._mode = "events"
            self._events = EventBuffer()
        if head.coding is not None and self.reader.set_coding(head.coding):
            self.is_coded = True
            if self._events is not None:
                self._events.is_opaque = True

    def on_data(self, data: bytes, *, is_end: bool) -> None:
        if self.is_ended:
            return
        self.last_byte_s = monotonic()
        if self._mode == "events":
            self._take_events(data, is_end=is_end)
        else:
            self._take_whole(data, is_end=is_end)

    def on_failure(self, error: UpstreamError) -> None:
        if not self.is_ended:
            self._fail(error.kind, str(error))

    # -- inside -------------------------------------------------------------------------------

    def _pass_head(self, head: ResponseHead) -> None:
        if head.status < 300 or head.status == 304:
            self._mode = "oversize"
            self.has_streamed = True
        if self.is_head_only and self._call is not None:
            self._call.abort()  # the parser would wait for a body that never comes
            if self._mode == "oversize":
                self._end()
            else:
                self._fail("status", f"the backend answered {head.status}")

    def _take_events(self, data: bytes, *, is_end: bool) -> None:
        assert self._events is not None
        ready = self._events.feed(data)
        if is_end:
            ready += self._rest_of_events(ready)
        elif self._events.is_within_event:
            self.reader.read_piece(ready)
        elif ready:
            self.reader.read_events(ready)
        if ready:
            self._pass_on(ready)
        if self.is_ended:
            return
        if is_end or self.reader.has_done:
            self._end_of_events(is_end=is_end)

    def _rest_of_events(self, ready: bytes) -> bytes:
        """At the end: what is held belongs to the answer only if that is whole."""
        self.reader.read_events(ready)
        assert self._events is not None
        rest = self._events.rest()
        if rest:
            self.reader.read_events(rest)
        return rest if self.reader.is_complete else b""

    def _pass_on(self, ready: bytes) -> None:
        self._keep(ready)
        if not self.reader.has_data:
            return  # comments only: the head still waits, failover is still free
        if self.first_byte_s is None:
            self.first_byte_s = self.last_byte_s
        if self.reader.error is not None and not self.reader.has_answer and not self.has_streamed:
            # As the first event of a 200 stream an error is a failure with a real status.
            self._refuse("error_event", "the backend reported an error in its stream")
        elif (
            not self._is_held
            or self._body_bytes > HELD_BYTES_MAX
            or (self.gate is not None and not self.gate(self))
        ):
            data = self.body
            self._body = []
            self._body_bytes = 0
            self._is_held = False
            self.has_streamed = True
            self._owner.attempt_streams(self, data)

    def _end_of_events(self, *, is_end: bool) -> None:
        if not is_end and self._call is not None:
            self._loop.call_later(DRAIN_S, self._call.abort)
        if self.reader.is_complete:
            self._end()
        else:
            self._fail("cut", "the stream ended before the answer did")

    def _take_whole(self, data: bytes, *, is_end: bool) -> None:
        if self.first_byte_s is None and data:
            self.first_byte_s = self.last_byte_s
        if self._mode == "oversize":
            self._pass_piece(data)
        else:
            self._keep(data)
            self._check_size()
        if is_end and not self.is_ended:
            self._end_of_whole()

    def _check_size(self) -> None:
        if self.status == 200:
            if self._body_bytes > HELD_BYTES_MAX:
                self._mode = "oversize"
                self.has_streamed = True
                data, self._body = self.body, []
                self._start = data[:START_BYTES]
                self._pass_piece(data)
        elif self._body_bytes > ERROR_BYTES_MAX:
            self._refuse("protocol", "the backend's error body has no end")

    def _pass_piece(self, data: bytes) -> None:
        """A piece of an answer too large to be held; its last bytes may still be read."""
        self._tail = (data if len(data) >= TAIL_BYTES else self._tail + data)[-TAIL_BYTES:]
        self._owner.attempt_streams(self, data)

    def _end_of_whole(self) -> None:
        if self._mode == "oversize":
            if not self.passes:
                self.reader.read_large(self._start, self._tail)
            self._end()
        elif self.status != 200:
            self._fail_by_status()
        elif not self.reader.read_whole(self.body):
            self._fail("not_json", "the backend's answer is not a JSON object")
        elif self.reader.error is not None and not self.reader.has_answer:
            self._fail("error_event", "the backend reported an error with status 200")
        elif not self.reader.has_answer and not self.reader.is_unparsed:
            self._fail("no_answer", "the backend's answer holds no answer")
        else:
            self._end()

    def _fail_by_status(self) -> None:
        assert self.head is not None
        if self.target.is_loading(self.head, self.body):
            self._fail("not_ready", "the backend is loading its model")
        else:
            self._fail("status", f"the backend answered {self.status}")

    def _keep(self, data: bytes) -> None:
        if data:
            self._body.append(data)
            self._body_bytes += len(data)

    def _end(self) -> None:
        self._mark_ended(None, "")
        self._owner.attempt_ended(self)

    def _fail(self, failure: str, text: str) -> None:
        self._mark_ended(failure, text)
        self._owner.attempt_ended(self)

    def _refuse(self, failure: str, text: str) -> None:
        """Its answer has not ended, and is none."""
        if self._call is not None:
            self._call.abort()
        self._fail(failure, text)

    def _mark_ended(self, failure: str | None, text: str) -> None:
        self.is_ended = True
        self.ended_s = monotonic()
        self.failure = failure
        self.failure_text = text
        if self.backend.price is not None:
            self.cost_usd = self.backend.price.cost_usd(
                self.reader.usage,
                busy_s=self.ended_s - self.started_s,
                served_at_once=self.served_at_once,
            )

    def _retry_after_s(self) -> float | None:
        return None if self.failure is None or self.head is None else retry_after_s(self.head)

    def _refusal(self) -> Refusal | None:
        if self.failure == "status" and self.head is not None:
            return refusal_of(self.head.status, decoded(self.body, self.head.coding))
        error = self.reader.error
        return refusal_in(error) if self.failure == "error_event" and error else None

    def _is_retryable(self) -> bool:
        if self.failure is None or self.has_streamed:
            return False
        if self.failure == "status" and self.head is not None:
            return self.target.is_retryable(self.head, self.body)
        return self.failure != "client_gone"
