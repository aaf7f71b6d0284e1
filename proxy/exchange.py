"""One request, from its last byte to its terminal bytes; it reads as the life it lives.

    begin      admission -> features -> decision -> the first attempt
    attempts   each ends; a pure function says what is next: accept, ask another, give up
    answer     held answers are written whole, streams as they come
    record     the journal has it before the terminal bytes go out

An exchange is driven by callbacks (its client, its attempt, its timer) and ends exactly once,
with exactly one record. Whatever it decides comes from `policies`; here it is carried out.
"""

import asyncio
from time import monotonic, time_ns
from typing import TYPE_CHECKING

from adapters.openai import Wanted, kept_downstream
from adapters.splice import DuplicateMember
from policies.confidence import Answer, judge
from policies.decide import Decision, decide
from policies.features import (
    ChatRequest,
    Features,
    RequestError,
    parse_chat,
    prompt_text,
    read_features,
    response_schema,
)
from policies.steps import Accept, Ask, GiveUp, Outcome, OutcomeKind, next_step
from telemetry.ids import new_id
from telemetry.record import CaptureLevel, Status

from . import errors, failures
from .attempt import Attempt
from .downstream import DownstreamProtocol
from .errors import DownstreamError
from .heads import LAST_CHUNK, RequestHead, chunk, header_lines, response_head
from .recording import Ending, Packed, Tape, lower_level, record_of, total_cost_usd
from .relay import hide_in_events, hide_logprobs
from .wiring import Wiring

if TYPE_CHECKING:
    from .server import DataPlane

WRITE_STALL_S = 60.0
"""A client that reads nothing for so long is gone."""
COMMENT_EVERY_S = 15.0
"""Silence in a stream is filled with a comment: some clients hang up after five minutes."""
COMMENT = b": keep-alive\n\n"
NEVER_S = float("inf")
EVENT_LINES = b"cache-control: no-cache\r\nx-accel-buffering: no\r\n"
_NO_LABELS: dict[str, str] = {}


class Exchange:
    """One recordable request of one client."""

    # Defaults stand on the class: setting twenty of them per request costs 1 us.
    arrival_s = 0.0
    body: bytes | None = None
    features: Features | None = None
    decision: Decision | None = None
    overhead_us: int | None = None
    cost_usd: float | None = None
    """All attempts together; known at the end."""
    _request: ChatRequest | None = None
    _attempt: Attempt | None = None
    _deadline_s = NEVER_S
    _attempt_until_s = NEVER_S
    _timer: asyncio.TimerHandle | None = None
    _is_counted = False
    _is_over = False
    _is_cut = False
    _head_sent_s: float | None = None
    _last_write_s = 0.0
    _paused_since_s: float | None = None
    _held_tail = b""
    _last = b""

    def __init__(
        self,
        plane: "DataPlane",
        client: DownstreamProtocol,
        head: RequestHead,
        *,
        caller: str | None,
        keeps_body: bool,
    ) -> None:
        self.id = new_id()
        self.ts_us = time_ns() // 1000
        self.wiring: Wiring = plane.wiring
        self.caller = caller
        self.keeps_body = keeps_body
        self.api = "chat" if keeps_body else "unknown"
        self.attempts: list[Attempt] = []
        self.capture: CaptureLevel = self.wiring.policy.default.capture
        self.tape = Tape(self.id, plane.journal.append_part)
        self.client_request_id: str | None = None
        self._outcomes: list[Outcome] = []
        self._plane = plane
        self._client = client
        self._head = head
        if b"x-request-id" in head.fields:
            self.client_request_id = clean_request_id(head.fields[b"x-request-id"])
        if self.capture != "full" or head.own:
            self._set_capture(self.capture)

    def __repr__(self) -> str:
        state = "over" if self._is_over else repr(self._attempt)
        return f"<Exchange {self.id} {state}>"

    # -- from the client ----------------------------------------------------------------------

    def begin(self, body: bytes) -> None:
        """The request is here, whole. The arrival counts from now: uploading is not our time."""
        self.arrival_s = monotonic()
        self.body = body if self.keeps_body else None
        self._is_counted = True
        self._plane.exchange_began(self)
        try:
            error = self._plane.refusal_of(self, self._head)
            if error is not None:
                self.refuse(error)
            else:
                self._decide(body)
        except Exception as error:  # noqa: BLE001 - the boundary of one request: a 500, and only its own
            self._plane.crashed(self, error)

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
        attempt = self._attempt
        if attempt is not None:
            attempt.abort("client_gone", "the client went away")
        won = attempt if attempt is not None and attempt.has_streamed else None
        self._end("client_gone", http_status=None, error_type="client_gone", won=won)

    def pause(self) -> None:
        """The client reads slower than the backend writes."""
        self._paused_since_s = monotonic()
        if self._attempt is not None:
            self._attempt.pause_reading()

    def resume(self) -> None:
        """The client reads again."""
        self._paused_since_s = None
        if self._attempt is not None:
            self._attempt.resume_reading()

    def crashed(self) -> None:
        """A defect of ours: this request gets a 500, nobody else notices."""
        if self._is_over:
            return
        if self._attempt is not None:
            self._attempt.abort("internal", "a defect of the proxy")
        if self._head_sent_s is None:
            self._answer_error(errors.internal(), "error", None)
        else:
            self._cut("internal", self._attempt)

    def pack(self, decision: Decision) -> Packed:
        """The decision as the record carries it."""
        return self._plane.pack(decision)

    # -- decide -------------------------------------------------------------------------------

    def _decide(self, body: bytes) -> None:
        try:
            self._request = request = parse_chat(body)
        except RequestError as error:
            self.refuse(errors.invalid(error.message, param=error.param, code=error.code))
            return
        head = self._head
        conversation = head.own.get(b"conversation")
        self.features = features = read_features(
            request,
            body_bytes=len(body),
            label_headers=head.labels() if head.own else _NO_LABELS,
            conversation_header=conversation.decode("utf-8", "replace") if conversation else None,
            caller=self.caller,
        )
        match = self.wiring.policy.route_for(features.model, features.labels)
        if match is None:
            self.refuse(errors.model_not_found())
            return
        self.decision = decision = decide(
            self.wiring.policy,
            match,
            features,
            self._plane.world,
            decision_id=self.id,
            seed=int(self.id[-12:], 16),
        )
        route = match.route
        if route.capture != self.capture:
            self._set_capture(route.capture)
        self._deadline_s = self.arrival_s + self._allowed_s(route.timeout.total_s)
        if decision.chosen is None:
            self.refuse(errors.no_backend(decision.reason))
        else:
            self._ask(decision.chosen, "primary")

    def _set_capture(self, level: CaptureLevel) -> None:
        """What the route says, lowered where the client asks for less."""
        self.capture = lower_level(level, self._head.own.get(b"capture"))
        self.tape.set_level(self.capture)

    def _allowed_s(self, total_s: float) -> float:
        """The route's time for the whole request; the client's header can only shorten it."""
        asked = self._head.own.get(b"deadline-ms")
        if asked is not None and asked.isdigit() and len(asked) < 10:
            return min(total_s, int(asked) / 1000)
        return total_s

    # -- attempts -----------------------------------------------------------------------------

    def _ask(self, name: str, kind: OutcomeKind) -> None:
        features, decision = self.features, self.decision
        assert features is not None
        assert decision is not None
        assert self.body is not None
        target = self.wiring.targets[name]
        rule = decision.route.confidence
        wanted = Wanted(
            features.model,
            features.is_stream,
            features.include_usage,
            rule is not None
            and "logprobs" in rule.signals
            and target.backend.has_logprobs
            and not features.wants_logprobs,
        )
        try:
            prepared = target.prepare(
                self.body,
                wanted,
                header_lines=self._head.upstream_lines,
                query=self._head.query,
            )
        except DuplicateMember:
            self.refuse(errors.invalid("The request body holds a member twice."))
            return
        self._attempt = attempt = Attempt(
            self,
            target.backend,
            prepared,
            kind=kind,
            choices=features.choices,
            is_held=decision.route.hold != "none",
            loop=self._plane.loop,
        )
        self.attempts.append(attempt)
        self._arm()
        attempt.start(self.wiring.pools[name])

    def attempt_streams(self, attempt: Attempt, data: bytes) -> None:
        """Whole events of the answer (or raw bytes of a huge one): on to the client."""
        if self._is_over:
            return
        try:
            prepared = attempt.prepared
            if attempt.is_streaming and (prepared.hides_usage or prepared.hides_logprobs):
                data = hide_in_events(
                    data, usage=prepared.hides_usage, logprobs=prepared.hides_logprobs
                )
            if attempt.reader.has_done:
                self._held_tail = data  # the terminal bytes wait for the record
            elif data:
                self._stream(attempt, data)
        except Exception as error:  # noqa: BLE001 - the boundary of one request
            self._plane.crashed(self, error)

    def attempt_ended(self, attempt: Attempt) -> None:
        """An answer is whole or an attempt failed: what next?"""
        if self._is_over:
            return
        try:
            if attempt.failure is None:
                self._judge(attempt)
            self._plane.attempt_ended(attempt)
            if attempt.has_streamed:
                self._end_stream(attempt)
            else:
                self._outcomes.append(attempt.outcome())
                self._next()
        except Exception as error:  # noqa: BLE001 - the boundary of one request
            self._plane.crashed(self, error)

    def _next(self) -> None:
        assert self.decision is not None
        now_s = monotonic()
        step = next_step(
            self.decision,
            self._outcomes,
            time_left_s=self._deadline_s - now_s,
            elapsed_s=now_s - self.arrival_s,
        )
        if isinstance(step, Accept):
            self._answer(self.attempts[step.index])
        elif isinstance(step, GiveUp):
            self._give_up(self.attempts[step.index])
        else:
            self._attempt = None
            self._attempt_until_s = now_s + step.delay_s + step.time_left_s
            if step.delay_s > 0:
                self._plane.loop.call_later(step.delay_s, self._ask_later, step)
            else:
                self._ask(step.backend, step.kind)

    def _ask_later(self, step: Ask) -> None:
        if self._is_over:
            return
        try:
            self._ask(step.backend, step.kind)
        except Exception as error:  # noqa: BLE001 - the boundary of one request
            self._plane.crashed(self, error)

    def _judge(self, attempt: Attempt) -> None:
        """Confidence in a whole answer, where the route asks for it."""
        assert self.decision is not None
        assert self._request is not None
        route = self.decision.route
        if route.confidence is None:
            return
        reader = attempt.reader
        answer = Answer(
            reader.text, reader.finish_reason, reader.token_logprobs, reader.has_tool_calls
        )
        looks_in_prompt = any(check.in_prompt for check in route.checks)
        attempt.confidence = judge(
            route,
            answer,
            prompt_text=prompt_text(self._request) if looks_in_prompt else "",
            response_schema=response_schema(self._request),
        ).value

    # -- answer -------------------------------------------------------------------------------

    def _answer(self, attempt: Attempt) -> None:
        """A whole answer that was held goes out at once, head and all."""
        prepared, body = attempt.prepared, attempt.body
        length: int | None = None
        if attempt.is_streaming:
            body = hide_in_events(
                body, usage=prepared.hides_usage, logprobs=prepared.hides_logprobs
            )
            last = self._framed(body) + self._terminator()
        else:
            if prepared.hides_logprobs:
                body = hide_logprobs(body)
            last, length = body, len(body)
        self.tape.add(body)
        self._last = self._answer_head(attempt, length=length) + last
        self._end("ok", http_status=200, error_type=None, won=attempt)

    def _stream(self, attempt: Attempt, data: bytes) -> None:
        self.tape.add(data)
        self._last_write_s = attempt.last_byte_s
        if self._head_sent_s is None:
            head = self._answer_head(attempt, length=None)
            self._head_sent_s = monotonic()
            self._arm()
            self._client.write(head + self._framed(data))
        elif self._head.is_http_10:
            self._client.write(data)
        else:
            self._client.write(chunk(data))

    def _end_stream(self, attempt: Attempt) -> None:
        if attempt.failure is not None:
            self._cut(attempt.failure, attempt)
            return
        head = b"" if self._head_sent_s is not None else self._answer_head(attempt, length=None)
        tail, self._held_tail = self._held_tail, b""
        if tail:
            self.tape.add(tail)
            head += self._framed(tail)
        self._last = head + self._terminator()
        self._end("ok", http_status=200, error_type=None, won=attempt)

    def _cut(self, failure: str, attempt: Attempt | None) -> None:
        """The answer broke off after the client saw some of it: an error event, no clean end."""
        if attempt is not None and attempt.is_streaming:
            message = "The backend broke off in the middle of its answer."
            event = errors.error_json(message, type=errors.SERVER, code="upstream_cut")
            event = b"data: " + event + b"\n\n"
            self.tape.add(event)
            self._last = self._framed(event)
        self._is_cut = True
        self._end("upstream_cut", http_status=200, error_type=failure, won=attempt)

    def _give_up(self, attempt: Attempt) -> None:
        """The last failure is passed on as it is, or told in our own words."""
        passed = failures.passed_on(attempt, has_retried=len(self.attempts) > 1)
        if passed is None:
            self._answer_error(failures.told(attempt), "error", attempt)
            return
        status, headers, body = passed
        self.tape.add(body)
        self._measure_overhead()
        lines = header_lines(headers) + self._own_lines(attempt)
        if not any(name == b"x-request-id" for name, _ in headers):
            lines += self._request_id_line()
        self._last = self._head_bytes(status, lines, len(body)) + body
        self._end("error", http_status=status, error_type=attempt.failure, won=attempt)

    def _answer_error(self, error: DownstreamError, status: Status, won: Attempt | None) -> None:
        if error.closes:
            self._client.closes = True
        body = error.body()
        self.tape.add(body)
        headers = [(b"content-type", b"application/json"), *error.headers]
        lines = header_lines(headers) + self._own_lines(won) + self._request_id_line()
        self._last = self._head_bytes(error.status, lines, len(body)) + body
        self._end(status, http_status=error.status, error_type=error.code or error.type, won=won)

    def _answer_head(self, attempt: Attempt, *, length: int | None) -> bytes:
        assert attempt.head is not None
        self._measure_overhead()
        headers = kept_downstream(attempt.head.headers)
        lines = header_lines(headers) + self._own_lines(attempt)
        if attempt.is_streaming:
            lines += EVENT_LINES
        if length is not None:
            self.cost_usd = total_cost_usd(self.attempts)
            if self.cost_usd is not None:
                lines += b"x-pointsman-cost-usd: %b\r\n" % decimal(self.cost_usd)
        if not any(name == b"x-request-id" for name, _ in headers):
            lines += self._request_id_line()
        return self._head_bytes(200, lines, length)

    def _head_bytes(self, status: int, lines: bytes, length: int | None) -> bytes:
        if length is None and self._head.is_http_10:
            self._client.closes = True  # only the connection's end marks the body's
        return response_head(
            status,
            lines,
            date=self._plane.date,
            length=length,
            head=self._head,
            closes=self._client.closes_behind(self._head),
        )

    def _request_id_line(self) -> bytes:
        return b"x-request-id: req_%b\r\n" % self.id.replace("-", "").encode()

    def _own_lines(self, attempt: Attempt | None) -> bytes:
        """`x-pointsman-*`: on every answer for which a decision was made."""
        decision = self.decision
        lines = b"x-pointsman-decision-id: %b\r\n" % self.id.encode()
        if decision is None:
            return lines
        edited = () if attempt is None else attempt.prepared.edited
        key = (decision.route.name, None if attempt is None else attempt.backend.name, edited)
        lines += self.wiring.answer_lines.get(key) or self.wiring.make_answer_lines(key)
        lines += b"x-pointsman-attempts: %d\r\n" % len(self.attempts)
        if self.overhead_us is not None:
            lines += b"x-pointsman-overhead-us: %d\r\n" % self.overhead_us
        if attempt is not None and attempt.confidence is not None:
            lines += b"x-pointsman-confidence: %.4f\r\n" % attempt.confidence
        return lines

    def _measure_overhead(self) -> None:
        """Our own time up to the head: all of it, less what was spent waiting for backends."""
        elapsed_s = monotonic() - self.arrival_s
        for attempt in self.attempts:
            elapsed_s -= attempt.waited_s
        self.overhead_us = max(0, int(elapsed_s * 1e6))

    def _framed(self, data: bytes) -> bytes:
        return data if self._head.is_http_10 or not data else chunk(data)

    def _terminator(self) -> bytes:
        return b"" if self._head.is_http_10 else LAST_CHUNK

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
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now_s = monotonic()
        if self.cost_usd is None:
            self.cost_usd = total_cost_usd(self.attempts)
        first_byte_s = self._head_sent_s or (now_s if status != "client_gone" else None)
        ending = Ending(status, http_status, error_type, won, first_byte_s, now_s)
        record = record_of(self, ending)
        self._plane.exchange_ended(record, counted=self._is_counted)
        self._plane.journal.append(record, self._released)

    def _released(self, is_kept: bool) -> None:
        """The record is with the kernel (or the rule for a full disk has spoken)."""
        closes = self._is_cut or self._client.closes_behind(self._head)
        last = self._last if is_kept else self._unrecorded()
        if last:
            self._client.write(last)
        if self._is_cut:
            self._client.close()
        self._client.response_done(keeps_alive=not closes and is_kept)
        self._attempt = None
        for attempt in self.attempts:
            attempt.let_go()

    def _unrecorded(self) -> bytes:
        """Under `fail_closed` an answer that cannot be kept is not given."""
        self._client.closes = True
        if self._head_sent_s is not None:
            return b""  # the stream ends without its terminator
        error = errors.capture_unavailable()
        body = error.body()
        lines = header_lines([(b"content-type", b"application/json"), *error.headers])
        return self._head_bytes(error.status, lines + self._request_id_line(), len(body)) + body

    # -- time ---------------------------------------------------------------------------------

    def _arm(self) -> None:
        """One timer for all limits; moved only when the next one is nearer than it is set."""
        due_s = self._next_due_s()
        if self._timer is not None:
            if self._timer.when() <= due_s:
                return
            self._timer.cancel()
        self._timer = self._plane.loop.call_at(due_s, self._check_time)

    def _next_due_s(self) -> float:
        due_s = self._deadline_s
        if self._paused_since_s is not None:
            due_s = min(due_s, self._paused_since_s + WRITE_STALL_S)
        if self._attempt is not None and not self._attempt.is_ended:
            due_s = min(due_s, self._attempt_due_s(self._attempt))
        if self._head_sent_s is not None:
            due_s = min(due_s, self._last_write_s + COMMENT_EVERY_S)
        return due_s

    def _attempt_due_s(self, attempt: Attempt) -> float:
        assert self.decision is not None
        timeout = self.decision.route.timeout
        if attempt.first_byte_s is None:
            due_s = attempt.started_s + timeout.first_token_s
        else:
            due_s = attempt.last_byte_s + timeout.idle_s
        return min(due_s, self._attempt_until_s)

    def _check_time(self) -> None:
        self._timer = None
        if self._is_over:
            return
        try:
            self._act_on_time(monotonic())
            if not self._is_over:
                self._arm()
        except Exception as error:  # noqa: BLE001 - the boundary of one request
            self._plane.crashed(self, error)

    def _act_on_time(self, now_s: float) -> None:
        attempt = self._attempt
        if self._paused_since_s is not None and now_s >= self._paused_since_s + WRITE_STALL_S:
            self._client.abort()
            self.client_gone()
        elif now_s >= self._deadline_s:
            self._out_of_time("total", attempt)
        elif (
            attempt is not None
            and not attempt.is_ended
            and self._paused_since_s is None
            and now_s >= self._attempt_due_s(attempt)
        ):
            which = "first_token" if attempt.first_byte_s is None else "idle"
            attempt.abort("timeout", f"no answer within timeout.{which}")
            self.attempt_ended(attempt)
        elif self._head_sent_s is not None and now_s >= self._last_write_s + COMMENT_EVERY_S:
            self._comment(now_s)

    def _out_of_time(self, which: str, attempt: Attempt | None) -> None:
        """The deadline of the whole request: an earlier whole answer is better than none."""
        if attempt is not None and not attempt.is_ended:
            attempt.abort("timeout", f"no answer within timeout.{which}")
            self.attempt_ended(attempt)
        elif self._outcomes:
            self._give_up(self.attempts[-1])

    def _comment(self, now_s: float) -> None:
        if self._attempt is not None and self._attempt.is_streaming:
            self.tape.add(COMMENT)
            self._client.write(self._framed(COMMENT))
        self._last_write_s = now_s


def decimal(value: float) -> bytes:
    """US dollars without an exponent, to a thousandth of a millionth."""
    return (f"{value:.9f}".rstrip("0").rstrip(".") or "0").encode()


def clean_request_id(value: bytes | None) -> str | None:
    """A client's own id, kept for the record: at most 128 of `[A-Za-z0-9._-]`."""
    if value is None:
        return None
    kept = bytes(byte for byte in value[:512] if chr(byte).isalnum() or byte in b"._-")[:128]
    return kept.decode("ascii", "ignore") or None
