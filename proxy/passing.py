"""One request that is passed through: no policy, no retry, nothing read, nothing held.

    begin      the backend is known, or looked up by the id in the path
    body       goes up as it comes; see uploading.py
    answer     comes down as it comes; an error of the backend passes as errors do elsewhere
    record     metadata: who, where, when, how much, and the digests of both bodies

Times: the backend has `timeout.first_token` and `timeout.total` of the default route to begin
its answer, counted from the end of the request's body, and `timeout.idle` between two bytes of
either body; once the answer has begun there is no total, since a large file takes what it takes.
"""

import asyncio
from time import monotonic, time_ns
from typing import TYPE_CHECKING

from adapters.answer_reader import AnswerReader
from adapters.edits import Prepared
from adapters.target import Target
from telemetry.ids import new_id
from telemetry.queries import ANOTHERS
from telemetry.record import Status

from . import errors, failures
from .answering import clean_request_id
from .attempt import Attempt
from .deciding import first_speaking
from .downstream import DownstreamProtocol
from .errors import DownstreamError, Shape
from .heads import Header, RequestHead
from .passage import Passage
from .passed_answer import PassedAnswer
from .recording import Ending, Tape, lower_level, passing_record
from .timing import allowed_s
from .uploading import Upload
from .wiring import Wiring

if TYPE_CHECKING:
    from .server import DataPlane


class Passing:
    """One such request of one client."""

    keeps_body = False
    streams_body = True
    arrival_s = 0.0
    attempt: Attempt | None = None
    is_paused = False
    is_over = False  # its record is written
    _timer: asyncio.TimerHandle | None = None
    _is_cut = False
    _is_counted = False
    _last = b""
    _failed: DownstreamError | None = None

    def __init__(
        self,
        plane: "DataPlane",
        client: DownstreamProtocol,
        head: RequestHead,
        passage: Passage,
        *,
        caller: str | None,
    ) -> None:
        self.id = new_id()
        self.ts_us = time_ns() // 1000
        self.plane = plane
        self.client = client
        self.head = head
        self.caller = caller
        self.wiring: Wiring = plane.wiring
        self.passage = passage
        self._down = PassedAnswer(self)
        self.capture = lower_level("metadata", head.own.get(b"capture"))
        self.tape = Tape(self.id, plane.journal.append_part)
        self.tape.set_level(self.capture)
        fields = head.fields
        self.client_request_id = clean_request_id(fields.get(b"x-request-id") or b"")
        self._is_chunked = b"transfer-encoding" in fields
        self._length = int(fields.get(b"content-length") or 0)
        self.upload = Upload(
            client, is_chunked=self._is_chunked, is_hashed=self.capture == "metadata"
        )

    def __repr__(self) -> str:
        return f"<Passing {self.id} {'over' if self.is_over else self.upload}>"

    # -- from the client ----------------------------------------------------------------------

    def begin(self, body: bytes) -> None:
        """Its turn has come; the body follows, or came already."""
        self.arrival_s = monotonic()
        self._is_counted = True
        self.plane.exchange_began(self)
        try:
            error = self._failed or self.plane.admission_error(self.head, self.caller)
            if error is not None:
                self.refuse(error)
            elif not self.plane.admission.holds(self):
                self._set_out()
        except Exception as error:  # noqa: BLE001 - the boundary of one request: a 500, and only its own
            self.plane.crashed(self, error)

    def begin_late(self) -> None:
        """There is room now."""
        if self.is_over:
            return
        try:
            self._set_out()
        except Exception as error:  # noqa: BLE001 - the boundary of one request
            self.plane.crashed(self, error)

    def body_read(self, data: bytes) -> None:
        """A piece of the body."""
        try:
            self.upload.take(data)
        except Exception as error:  # noqa: BLE001 - the boundary of one request
            self.plane.crashed(self, error)

    def body_ended(self) -> None:
        """The body is whole."""
        try:
            self.upload.end()
            self._arm()
        except Exception as error:  # noqa: BLE001 - the boundary of one request
            self.plane.crashed(self, error)

    def body_failed(self, error: DownstreamError) -> None:
        """The rest of the body will not come, or cannot be read."""
        if self.arrival_s:
            self._abort("client_gone", error.message)
            self.refuse(error)
        else:
            self._failed = error

    def refuse(self, error: DownstreamError) -> None:
        """Answer with an error of our own."""
        if self.is_over:
            return
        if not self.arrival_s:
            self.arrival_s = monotonic()
        status: Status = "refused" if self.attempt is None else "error"
        if self._down.is_begun:
            self._cut(error.code or error.type, "client_gone")
            return
        if error.closes:
            self.client.closes = True
        headers = [(b"content-type", b"application/json"), *error.headers]
        body = error.body(self.shape, self._down.request_id)
        self._answer(error.status, headers, body, status=status, error_type=error.code)

    def client_gone(self) -> None:
        """Nobody is there: the backend is told to stop at once."""
        if self.is_over:
            return
        if not self.arrival_s:
            self.arrival_s = monotonic()
        self._abort("client_gone", "the client went away")
        self._end("client_gone", http_status=None, error_type="client_gone")

    def pause(self) -> None:
        """The client reads slower than the backend writes."""
        self.is_paused = True
        if self.attempt is not None:
            self.attempt.pause_reading()

    def resume(self) -> None:
        """The client reads again."""
        self.is_paused = False
        if self.attempt is not None:
            self.attempt.last_byte_s = monotonic()
            self.attempt.resume_reading()
        self._arm()

    def crashed(self) -> None:
        """A defect of ours: this request gets a 500, nobody else notices."""
        if self.is_over:
            return
        self._abort("internal", "a defect of the proxy")
        if self._down.is_begun:
            self._cut("internal", "upstream_cut")
        else:
            self.refuse(errors.internal())

    @property
    def shape(self) -> Shape:
        """How errors of ours are written for this client."""
        if self.attempt is not None:
            return self.attempt.target.protocol
        backend = self.passage.backend
        return "openai" if backend is None else self.wiring.targets[backend].protocol

    # -- to the backend -----------------------------------------------------------------------

    def _set_out(self) -> None:
        if self.passage.response_id is None:
            self._ask(self.passage.backend)
        else:
            self.plane.pins.find(self.passage.response_id, self.caller, self._found)

    def _found(self, backend: str | None) -> None:
        """Who made the response; an id that nobody here made goes to the first of `default`."""
        if self.is_over:
            return
        if backend == ANOTHERS:
            self.refuse(errors.response_not_found())
            return
        if backend not in self.wiring.targets:
            backend = first_speaking(self.wiring, self.wiring.policy.default.candidates, "openai")
        try:
            self._ask(backend)
        except Exception as error:  # noqa: BLE001 - the boundary of one request
            self.plane.crashed(self, error)

    def _ask(self, name: str | None) -> None:
        assert name is not None
        target = self.wiring.targets[name]
        is_sent_whole = self.upload.is_whole
        prepared = Prepared(self._payload(target, is_sent_whole), (), False, False, False)
        self.attempt = attempt = Attempt(
            self, target, prepared, AnswerReader(),
            kind="primary", is_held=False, loop=self.plane.loop,
        )  # fmt: skip
        attempt.passes = True
        attempt.is_head_only = self.head.method == b"HEAD"
        self.client.say_continue()
        self.plane.watch.asked(attempt)
        self._arm()
        if is_sent_whole:
            attempt.start(self.wiring.pools[name])
        else:
            self.upload.send_by(attempt)
            attempt.start(self.wiring.pools[name], self.upload)

    def _payload(self, target: Target, is_sent_whole: bool) -> bytes:
        """The head, and the body where all of it is here."""
        head, body = self.head, b""
        if is_sent_whole:
            body = self.upload.take_held()
            has_length = body or head.method not in (b"GET", b"HEAD", b"DELETE", b"OPTIONS")
            framing = b"content-length: %d\r\n" % len(body) if has_length else b""
        elif self._is_chunked:
            framing = b"transfer-encoding: chunked\r\n"
        else:
            framing = b"content-length: %d\r\n" % self._length
        start = target.start(head.method, self.passage.path, head.query)
        return start + head.upstream_lines(target.to_upstream) + framing + b"\r\n" + body

    def _abort(self, failure: str, text: str) -> None:
        self.upload.stop()
        attempt = self.attempt
        if attempt is not None and not attempt.is_ended:
            attempt.abort(failure, text)
            self.plane.attempt_ended(attempt)

    # -- from the backend ---------------------------------------------------------------------

    def attempt_streams(self, attempt: Attempt, data: bytes) -> None:
        """A piece of the answer: on to the client."""
        if self.is_over or not data:
            return
        try:
            self.tape.add(data)
            self._down.take(attempt, data)
        except Exception as error:  # noqa: BLE001 - the boundary of one request
            self.plane.crashed(self, error)

    def attempt_ended(self, attempt: Attempt) -> None:
        """The answer is whole, or will never be."""
        if self.is_over:
            return
        try:
            self.upload.stop()
            self.plane.attempt_ended(attempt)
            if attempt.failure is None:
                self._last = self._down.last_bytes(attempt)
                self._end("ok", http_status=attempt.status, error_type=None)
            elif self._down.is_begun:
                self._down.flush(attempt)
                self._cut(attempt.failure, "upstream_cut")
            else:
                self._fail(attempt)
        except Exception as error:  # noqa: BLE001 - the boundary of one request
            self.plane.crashed(self, error)

    def _fail(self, attempt: Attempt) -> None:
        passed = failures.passed_on(attempt, has_retried=False)
        if passed is None:
            self.refuse(failures.told(attempt))
            return
        status, headers, body = passed
        self._answer(status, headers, body, status="error", error_type=attempt.failure)

    def _cut(self, failure: str, status: Status) -> None:
        """The client has some of the answer: the connection ends without a clean end."""
        self._is_cut = True
        assert self.attempt is not None
        self._end(status, http_status=self.attempt.status, error_type=failure)

    def _answer(
        self,
        http_status: int,
        headers: list[Header],
        body: bytes,
        *,
        status: Status,
        error_type: str | None,
    ) -> None:
        """A whole error: a backend's, or one of ours."""
        self.upload.stop()
        self.tape.add(body)
        head = self._down.head_bytes(http_status, headers, len(body))
        self._last = head if self.head.method == b"HEAD" else head + body
        self._end(status, http_status=http_status, error_type=error_type)

    # -- the end ------------------------------------------------------------------------------

    def _end(self, status: Status, *, http_status: int | None, error_type: str | None) -> None:
        """Record first; `_last` goes to the client once the journal has the record."""
        if self.is_over:
            return
        self.is_over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        ending = Ending(
            status, http_status, error_type, self.attempt, self._down.head_sent_s, monotonic()
        )
        record = passing_record(self, ending)
        self.plane.exchange_ended(record, counted=self._is_counted)
        self.plane.journal.append(record, self._released)

    def _released(self, is_kept: bool) -> None:
        """The record is with the kernel (or the rule for a full disk has spoken)."""
        if not is_kept:
            self.client.closes = True
        closes = self._is_cut or self.client.closes_behind(self.head)
        if is_kept:
            self.client.write(self._last)
        elif self._down.head_sent_s is None:
            error = errors.capture_unavailable()
            headers = [(b"content-type", b"application/json"), *error.headers]
            body = error.body(self.shape, self._down.request_id)
            self.client.write(self._down.head_bytes(error.status, headers, len(body)) + body)
        if self._is_cut:
            self.client.close()
        self.client.response_done(keeps_alive=not closes and is_kept)
        if self.attempt is not None:
            self.attempt.let_go()

    # -- time ---------------------------------------------------------------------------------

    def _due_s(self) -> float | None:
        """When the backend is late; None where it is not its turn."""
        attempt, upload = self.attempt, self.upload
        timeout = self.wiring.policy.default.timeout
        if attempt is None or attempt.is_ended or self.is_paused:
            return None
        if attempt.first_byte_s is not None:
            return attempt.last_byte_s + timeout.idle_s
        if not upload.is_whole:
            return upload.moved_s + timeout.idle_s if upload.waits_for_backend else None
        allowed = min(allowed_s(self.head, timeout), timeout.first_token_s)
        return max(self.arrival_s, upload.moved_s) + allowed

    def _arm(self) -> None:
        if self.is_over:
            return
        due_s = self._due_s()
        if due_s is None:  # not the backend's turn: look again later
            due_s = monotonic() + self.wiring.policy.default.timeout.idle_s
        if self._timer is not None:
            if self._timer.when() <= due_s:
                return
            self._timer.cancel()
        self._timer = self.plane.loop.call_at(due_s, self._check_time)

    def _check_time(self) -> None:
        self._timer = None
        if self.is_over:
            return
        try:
            due_s, attempt = self._due_s(), self.attempt
            if due_s is not None and attempt is not None and monotonic() >= due_s:
                attempt.abort("timeout", "no answer within its time")
                self.attempt_ended(attempt)
            else:
                self._arm()
        except Exception as error:  # noqa: BLE001 - the boundary of one request
            self.plane.crashed(self, error)
