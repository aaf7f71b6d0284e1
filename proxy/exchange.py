"""One request, from its last byte to its terminal bytes; it reads as the life it lives.

    begin      admission -> features -> decision -> the first attempt
    attempts   each ends; a pure function says what is next: accept, ask another, give up
    answer     held answers are written whole, streams as they come
    record     the journal has it before the terminal bytes go out

An exchange is driven by callbacks (its client, its attempt, its timer) and ends exactly once,
with exactly one record. Whatever it decides comes from `policies`; here it is carried out.
"""

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from adapters.adapter import RequestRefused
from policies.asked import Features
from policies.decision import Decision
from policies.request import RequestError
from policies.step import Accept, Ask, GiveUp, OutcomeKind
from policies.steps import next_step
from telemetry.ids import new_id
from telemetry.queries import ANOTHERS
from telemetry.record import CaptureLevel, Status

from . import errors, failures, hedging, opinions
from .answering import (
    answer_head,
    clean_request_id,
    cut_end,
    error_answer,
    framed,
    request_id,
    stream_end,
    terminator,
    unrecorded,
)
from .asking import make_attempt
from .attempt import Attempt
from .deciding import decision_of, is_named_twice, match_of
from .downstream import DownstreamProtocol
from .endpoints import Endpoint, shape_for
from .errors import DownstreamError, Shape
from .heads import RequestHead
from .judging import judge_answer
from .patience import FAR_S
from .recording import Ending, Packed, Tape, lower_level, record_of, total_cost_usd
from .redacting import redacted
from .sticking import go_on_with
from .timing import NEVER_S, act_on_time, allowed_s, next_due_s
from .wiring import Wiring

if TYPE_CHECKING:
    from .server import DataPlane

monotonic: Final = time.monotonic
time_ns: Final = time.time_ns

NAMED_TWICE: Final = "The request body names a member twice, or in a way that cannot be read."
_NO_LABELS: Final[dict[str, str]] = {}
LARGE_BYTES: Final = 1 << 20
"""Reading, and then editing, 20 MB takes 10 ms each."""


class Exchange:
    """One recordable request of one client."""

    # Defaults stand on the class: setting twenty of them per request costs 1 us.
    streams_body = False
    arrival_s = 0.0
    body: bytes | None = None
    features: Features | None = None
    decision: Decision | None = None
    overhead_us: int | None = None
    cost_usd: float | None = None
    """All attempts together; known at the end."""
    request: Any = None
    """What `endpoint.parse` made of the body."""
    attempt: Attempt | None = None
    race: hedging.Race | None = None
    """On a route that may send a request twice."""
    asides: opinions.Opinions | None = None
    """On a route that asks others about its answers."""
    deadline_s = NEVER_S
    attempt_until_s = NEVER_S
    _timer: asyncio.TimerHandle | None = None
    _is_counted = False
    _is_over = False
    _is_cut = False
    head_sent_s: float | None = None
    last_write_s = 0.0
    is_paused = False
    is_sticky = False
    conversation_key: bytes | None = None
    """On a route whose conversations stay with their model."""
    _held_tail = b""
    _last = b""
    canary: str | None = None
    """The newcomer on whose side of its route the request is (canary_sides.py)."""
    copies: tuple[Any, ...] = ()
    """What another backend is to be shown once the client has its answer (shadow.py)."""

    def __init__(
        self,
        plane: "DataPlane",
        client: DownstreamProtocol,
        head: RequestHead,
        *,
        caller: str | None,
        endpoint: Endpoint | None,
    ) -> None:
        self.id = new_id()
        self.ts_us = time_ns() // 1000
        self.wiring: Wiring = plane.wiring
        self.caller = caller
        self.endpoint = endpoint
        self.keeps_body = endpoint is not None
        self.api = "unknown" if endpoint is None else endpoint.api
        self.attempts: list[Attempt] = []
        self.capture: CaptureLevel = self.wiring.policy.default.capture
        self.tape = Tape(self.id, plane.journal.append_part)
        self.client_request_id: str | None = None
        self.ended: list[Attempt] = []
        self.plane = plane
        self.client = client
        self.head = head
        if b"x-request-id" in head.fields:
            self.client_request_id = clean_request_id(head.fields[b"x-request-id"])
        if self.capture != "full" or head.own:
            self._set_capture(self.capture)

    def __repr__(self) -> str:
        state = "over" if self._is_over else repr(self.attempt)
        return f"<Exchange {self.id} {state}>"

    # -- from the client ----------------------------------------------------------------------

    def begin(self, body: bytes) -> None:
        """The request is here, whole. The arrival counts from now: uploading is not our time."""
        self.arrival_s = monotonic()
        self.body = body if self.keeps_body else None
        self._is_counted = True
        self.plane.exchange_began(self)
        try:
            error = self.plane.refusal_of(self, self.head)
            if error is not None:
                self.refuse(error)
            elif self.plane.admission.holds(self):
                pass  # until there is room
            elif len(body) <= LARGE_BYTES or self.body is None:
                self._decide(body)
            else:
                self.plane.loop.call_soon(self.begin_late)
        except Exception as error:  # noqa: BLE001 - the boundary of one request: a 500, and only its own
            self.plane.crashed(self, error)

    def begin_late(self) -> None:
        """There is room now, or others had their turn."""
        if self._is_over or self.body is None:
            return
        try:
            self._decide(self.body)
        except Exception as error:  # noqa: BLE001 - the boundary of one request
            self.plane.crashed(self, error)

    def refuse(self, error: DownstreamError) -> None:
        """Answer with an error of our own, no backend asked (any more)."""
        if not self.arrival_s:
            self.arrival_s = monotonic()
        status: Status = "refused" if not self.attempts else "error"
        self._answer_error(error, status, None)

    def client_gone(self) -> None:
        """Nobody is there to be answered: the backend is told to stop at once."""
        if self._is_over:
            return
        if not self.arrival_s:
            self.arrival_s = monotonic()
        attempt = self.attempt
        if attempt is not None:
            attempt.abort("client_gone", "the client went away")
            self.plane.attempt_ended(attempt)
        hedging.drop_rival(self, "client_gone", "the client went away")
        won = attempt if attempt is not None and attempt.has_streamed else None
        self._end("client_gone", http_status=None, error_type="client_gone", won=won)

    def pause(self) -> None:
        """The client reads slower than the backend writes."""
        self.is_paused = True
        if self.attempt is not None:
            self.attempt.pause_reading()

    def resume(self) -> None:
        """The client reads again."""
        self.is_paused = False
        if self.attempt is not None:
            self.attempt.last_byte_s = monotonic()  # the pause was the client's, not the backend's
            self.attempt.resume_reading()
        if not self._is_over:
            self._arm()

    def crashed(self) -> None:
        """A defect of ours: this request gets a 500, nobody else notices."""
        if self._is_over:
            return
        if self.attempt is not None:
            self.attempt.abort("internal", "a defect of the proxy")
        hedging.drop_rival(self, "internal", "a defect of the proxy")
        if self.head_sent_s is None:
            self._answer_error(errors.internal(), "error", None)
        else:
            self._cut("internal", self.attempt)

    @property
    def shape(self) -> Shape:
        """How errors of ours are written for this client."""
        return shape_for(self.head.path) if self.endpoint is None else self.endpoint.shape

    def pack(self, decision: Decision) -> Packed:
        """The decision as the record carries it."""
        return self.plane.pack(decision)

    # -- decide -------------------------------------------------------------------------------

    def _decide(self, body: bytes) -> None:
        endpoint = self.endpoint
        assert endpoint is not None  # else it was refused
        try:
            self.request = request = endpoint.parse(body)
        except RequestError as error:
            self.refuse(errors.invalid(error.message, param=error.param, code=error.code))
            return
        head = self.head
        conversation = head.own.get(b"conversation")
        self.features = features = endpoint.read_features(
            request,
            body_bytes=len(body),
            label_headers=head.labels() if head.own else _NO_LABELS,
            conversation_header=conversation.decode("utf-8", "replace") if conversation else None,
            caller=self.caller,
        )
        previous = features.previous_response_id
        if previous is None and len(body) <= LARGE_BYTES:
            self._choose(None)
        elif previous is None:
            self.plane.loop.call_soon(self._choose_later, None)
        elif is_named_twice(body, "previous_response_id"):
            self.refuse(errors.invalid(NAMED_TWICE))
        else:
            self.plane.pins.find(previous, self.caller, self._choose_later)

    def _choose_later(self, maker: str | None) -> None:
        if self._is_over:
            return
        if maker == ANOTHERS:
            self.refuse(errors.previous_response_not_found())
            return
        try:
            self._choose(maker)
        except Exception as error:  # noqa: BLE001 - the boundary of one request
            self.plane.crashed(self, error)

    def _choose(self, maker: str | None) -> None:
        """Decide; `maker` is the backend that made what this request goes on from."""
        match = match_of(self, maker)
        if match is None:
            self.refuse(errors.model_not_found())
            return
        self.decision = decision = decision_of(self, match)
        route = match.route
        if route.capture != self.capture:
            self._set_capture(route.capture)
        if route.redact:
            self.tape.hold_whole()
        self.deadline_s = self.arrival_s + allowed_s(self.head, route.timeout)
        if decision.chosen is None:
            self.refuse(errors.no_backend(decision.reason))
        else:
            if route.hedge is not None:
                hedging.prepare(self, match)
            self._ask(decision.chosen, "primary")
            if route.confidence is not None and not self._is_over:
                opinions.begin(self)

    def _set_capture(self, level: CaptureLevel) -> None:
        """What the route says, lowered where the client asks for less."""
        self.capture = lower_level(level, self.head.own.get(b"capture"))
        self.tape.set_level(self.capture)

    # -- attempts -----------------------------------------------------------------------------

    def _ask(self, name: str, kind: OutcomeKind) -> None:
        try:
            self.attempt = attempt = make_attempt(self, name, kind)
        except RequestRefused as error:
            self.refuse(errors.invalid(error.message, param=error.param, code=error.code))
            return
        except ValueError:
            self.refuse(errors.invalid(NAMED_TWICE))
            return
        self.attempts.append(attempt)
        self.plane.watch.asked(attempt)
        self._arm()
        attempt.start(self.wiring.pools[name])

    def attempt_streams(self, attempt: Attempt, data: bytes) -> None:
        """Whole events of the answer (or raw bytes of a huge one): on to the client."""
        if self._is_over:
            return
        try:
            data = attempt.shown(data)
            if attempt.reader.has_done:
                self._held_tail = data  # the terminal bytes wait for the record
            elif data:
                self._stream(attempt, data)
        except Exception as error:  # noqa: BLE001 - the boundary of one request
            self.plane.crashed(self, error)

    def attempt_ended(self, attempt: Attempt) -> None:
        """An answer is whole or an attempt failed: what next?"""
        if self._is_over:
            return
        try:
            if attempt.failure is None:
                judge_answer(self, attempt)
            self.plane.attempt_ended(attempt)
            decisive = attempt if self.race is None else hedging.ended(self, self.race, attempt)
            if decisive is None:
                self._arm()
            elif decisive.has_streamed:
                self._end_stream(decisive)
            elif self.asides is None or not self.asides.awaits(decisive):
                self.go_on(decisive)
        except Exception as error:  # noqa: BLE001 - the boundary of one request
            self.plane.crashed(self, error)

    def go_on(self, attempt: Attempt) -> None:
        """What follows an attempt that has ended and, where it is an answer, was judged."""
        assert self.decision is not None
        self.ended.append(attempt)
        now_s = monotonic()
        step = next_step(
            self.decision,
            [one.outcome() for one in self.ended],
            time_left_s=self.deadline_s - now_s,
            elapsed_s=now_s - self.arrival_s,
            upstream=self.plane.watch.upstream(has_failed=attempt.failure is not None),
            contexts=self.wiring.contexts,
        )
        if isinstance(step, Accept):
            self._answer(self.ended[step.index])
        elif isinstance(step, GiveUp):
            self.give_up(self.ended[step.index], is_broke=step.is_broke)
        else:
            self.attempt = None
            self.attempt_until_s = now_s + step.delay_s + step.time_left_s
            if step.delay_s > 0:
                self.plane.loop.call_later(step.delay_s, self._ask_later, step)
            elif self.asides is None or not self.asides.hands_over(step):
                self._ask(step.backend, step.kind)

    def _ask_later(self, step: Ask) -> None:
        if self._is_over:
            return
        try:
            if self.plane.watch.may_send(step.backend):
                self._ask(step.backend, step.kind)
            else:
                self.give_up(self.ended[-1], is_broke=True)
        except Exception as error:  # noqa: BLE001 - the boundary of one request
            self.plane.crashed(self, error)

    # -- answer -------------------------------------------------------------------------------

    def _answer(self, attempt: Attempt) -> None:
        """A whole answer that was held goes out at once, head and all."""
        body = attempt.shown(attempt.body)
        length: int | None = None
        if attempt.is_streaming:
            last = framed(self, body) + terminator(self)
        else:
            last, length = body, len(body)
        self.tape.add(body)
        self._last = answer_head(self, attempt, length=length) + last
        self._end("ok", http_status=200, error_type=None, won=attempt)

    def _stream(self, attempt: Attempt, data: bytes) -> None:
        self.tape.add(data)
        self.last_write_s = attempt.last_byte_s
        if self.head_sent_s is None:
            if self.race is not None:
                hedging.won(self, self.race, attempt)
            head = answer_head(self, attempt, length=None)
            self.head_sent_s = monotonic()
            self._arm()
            self.client.write(head + framed(self, data))
        else:
            self.client.write(framed(self, data))

    def _end_stream(self, attempt: Attempt) -> None:
        if attempt.failure is not None:
            self._cut(attempt.failure, attempt)
            return
        self._last = stream_end(self, attempt, self._held_tail)
        self._end("ok", http_status=200, error_type=None, won=attempt)

    def _cut(self, failure: str, attempt: Attempt | None) -> None:
        """The answer broke off after the client saw some of it: an error event, no clean end."""
        if attempt is not None and attempt.is_streaming and not attempt.is_coded:
            self._last = cut_end(self, attempt, self._held_tail)
        self._is_cut = True
        self._end("upstream_cut", http_status=200, error_type=failure, won=attempt)

    def give_up(self, attempt: Attempt, *, is_broke: bool = False) -> None:
        """The last failure is passed on as it is, or told in our own words."""
        if is_broke:
            self.plane.watch.budget.refused += 1
        has_retried = is_broke or len(self.attempts) > 1
        passed = failures.passed_on(attempt, has_retried=has_retried)
        if passed is None:
            told = failures.told(attempt, has_retried=has_retried)
            self._answer_error(told, "error", attempt)
            return
        status, headers, body = passed
        self.tape.add(body)
        self._last = error_answer(self, attempt, status, headers, body)
        self._end("error", http_status=status, error_type=attempt.failure, won=attempt)

    def _answer_error(self, error: DownstreamError, status: Status, won: Attempt | None) -> None:
        if error.closes:
            self.client.closes = True
        body = error.body(self.shape, request_id(self))
        self.tape.add(body)
        headers = [(b"content-type", b"application/json"), *error.headers]
        self._last = error_answer(self, won, error.status, headers, body)
        self._end(status, http_status=error.status, error_type=error.code or error.type, won=won)

    # -- the end ------------------------------------------------------------------------------

    def _end(
        self,
        status: Status,
        *,
        http_status: int | None,
        error_type: str | None,
        won: Attempt | None,
    ) -> None:
        """Record first; `_last` goes to the client once the journal has the record."""
        if self._is_over:
            return
        self._is_over = True
        self.plane.patience.forget(self)
        if self.asides is not None:
            self.asides.close(status)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now_s = monotonic()
        keeps = self.endpoint is not None and self.endpoint.keeps_responses
        if won is not None and (keeps or self.conversation_key is not None):
            go_on_with(self, won)
        if self.cost_usd is None:
            self.cost_usd = total_cost_usd(self.attempts)
        first_byte_s = self.head_sent_s or (now_s if status != "client_gone" else None)
        ending = Ending(status, http_status, error_type, won, first_byte_s, now_s)
        record = record_of(self, ending)
        if (self.wiring.policy.default if self.decision is None else self.decision.route).redact:
            record = redacted(record)
        self.plane.exchange_ended(record, counted=self._is_counted)
        if status == "ok" and won is not None and self.plane.shadows.is_on:
            self.copies = self.plane.shadows.ended(self, won)
        self.plane.journal.append(record, self._released)

    def _released(self, is_kept: bool) -> None:
        """The record is with the kernel (or the rule for a full disk has spoken)."""
        closes = self._is_cut or self.client.closes_behind(self.head)
        last = self._last if is_kept else unrecorded(self)
        if last:
            self.client.write(last)
        if self._is_cut:
            self.client.close()
        self.client.response_done(keeps_alive=not closes and is_kept)
        self.attempt = None
        for attempt in self.attempts:
            attempt.let_go()
        if self.copies:
            self.plane.shadows.begin(self.copies)

    # -- time ---------------------------------------------------------------------------------

    def _arm(self) -> None:
        """One timer for all limits, moved only when the next one is nearer than it is set; none
        while they are all far away."""
        due_s = next_due_s(self)
        if due_s == NEVER_S:
            return  # not begun yet
        if self._timer is not None:
            if self._timer.when() <= due_s:
                return
            self._timer.cancel()
        elif due_s - monotonic() > FAR_S:
            self.plane.patience.wait(self, due_s)
            return
        self._timer = self.plane.loop.call_at(due_s, self._check_time)

    def limit_is_near(self) -> None:
        """Told by the plane's patience."""
        if not self._is_over:
            self._arm()

    def _check_time(self) -> None:
        self._timer = None
        if self._is_over:
            return
        try:
            act_on_time(self, monotonic())
            if not self._is_over:
                self._arm()
        except Exception as error:  # noqa: BLE001 - the boundary of one request
            self.plane.crashed(self, error)
