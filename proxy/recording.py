"""From an exchange that has ended to the record of it."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from pointsman.tokens import Usage
from policies.decide import Decision
from telemetry.record import (
    AttemptRecord,
    BodyPart,
    CandidateRecord,
    CaptureLevel,
    RequestRecord,
    Status,
)

from .attempt import Attempt

if TYPE_CHECKING:
    from .exchange import Exchange

TAPE_BYTES_MAX = 1 << 20
"""A response is held for its record up to this size; beyond it goes to the journal in parts."""

_ORDER: tuple[CaptureLevel, ...] = ("off", "metadata", "full")


class Ending(NamedTuple):
    """How an exchange ended. `won` is the attempt whose answer the client received."""

    status: Status
    http_status: int | None
    error_type: str | None
    won: Attempt | None
    first_byte_s: float | None
    ended_s: float


class Tape:
    """The response as the client receives it, kept for the record as the capture level says."""

    __slots__ = ("_append_part", "_bytes", "_hash", "_id", "_level", "_pieces", "parts")

    def __init__(self, identity: str, append_part: Callable[[BodyPart], None]) -> None:
        self._id = identity
        self._append_part = append_part
        self._level: CaptureLevel = "full"
        self._pieces: list[bytes] = []
        self._bytes = 0
        self._hash = sha256()
        self.parts = 0

    def set_level(self, level: CaptureLevel) -> None:
        """To be said before the first byte."""
        self._level = level

    def add(self, data: bytes) -> None:
        """Body bytes as the client receives them, without their framing."""
        if self._level == "full":
            self._pieces.append(data)
            self._bytes += len(data)
            if self._bytes > TAPE_BYTES_MAX:
                self._spill()
        elif self._level == "metadata":
            self._hash.update(data)

    def rest(self) -> bytes | None:
        """What was not spilled; None where nothing is kept."""
        if self._level != "full":
            return None
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def digest(self) -> bytes | None:
        """SHA-256 of the whole where the body itself is not kept."""
        return self._hash.digest() if self._level == "metadata" else None

    def _spill(self) -> None:
        self._append_part(BodyPart(self._id, self.parts, b"".join(self._pieces)))
        self.parts += 1
        self._pieces = []
        self._bytes = 0


def lower_level(level: CaptureLevel, asked: bytes | None) -> CaptureLevel:
    """The route's capture level, lowered where the client asks for less."""
    if asked not in (b"off", b"metadata"):
        return level
    return min(level, "off" if asked == b"off" else "metadata", key=_ORDER.index)


def record_of(exchange: "Exchange", ending: Ending) -> RequestRecord:
    """The record of an exchange that ended with `ending`."""
    features, decision, won = exchange.features, exchange.decision, ending.won
    reader = won.reader if won is not None else None
    attempts = exchange.attempts
    return RequestRecord(
        id=exchange.id,
        ts_us=exchange.ts_us,
        api=exchange.api,
        status=ending.status,
        complete=ending.status == "ok",
        capture=exchange.capture,
        http_status=ending.http_status,
        route=decision.route.name if decision else None,
        backend=won.backend.name if won else None,
        decided=decision.chosen if decision else None,
        policy=exchange.wiring.policy.digest,
        model_asked=features.model if features else None,
        model_used=won.backend.model if won else None,
        model_reported=reader.model if reader else None,
        is_stream=features.is_stream if features else False,
        choices=features.choices if features else 1,
        has_tools=features.has_tools if features else False,
        has_images=features.has_images if features else False,
        response_format=features.response_format if features else None,
        caller=exchange.caller,
        client_request_id=exchange.client_request_id,
        conversation=features.conversation if features else None,
        task=features.task if features else None,
        labels=features.labels if features else {},
        labels_ignored=features.labels_ignored if features else 0,
        user=features.user if features else None,
        seed=decision.seed if decision else None,
        state=decision.state if decision else None,
        reason=decision.reason if decision else None,
        error_type=ending.error_type,
        finish_reason=reader.finish_reason if reader else None,
        usage=reader.usage if reader else Usage(),
        cost_usd=total_cost_usd(attempts),
        price_version=won.backend.price_version if won else None,
        first_byte_us=_since(exchange.arrival_s, ending.first_byte_s),
        total_us=_us(ending.ended_s - exchange.arrival_s),
        overhead_us=exchange.overhead_us,
        confidence=won.confidence if won else None,
        is_escalated=any(attempt.kind == "escalation" for attempt in attempts),
        is_simulated=won.backend.is_simulated if won else False,
        is_unparsed=reader.is_unparsed if reader else False,
        provider_response_id=reader.response_id if reader else None,
        edited=", ".join(won.prepared.edited) or None if won else None,
        candidates=_candidate_records(decision) if decision else (),
        attempts=tuple([_attempt_record(one, exchange.arrival_s, won) for one in attempts]),
        request=exchange.body,
        response=exchange.tape.rest(),
        response_parts=exchange.tape.parts,
        response_sha256=exchange.tape.digest(),
    )


def total_cost_usd(attempts: Sequence[Attempt]) -> float | None:
    """All attempts together; None where the cost of one that was answered is unknown."""
    total = 0.0
    for attempt in attempts:
        cost_usd = attempt.cost_usd
        if cost_usd is not None:
            total += cost_usd
        elif attempt.reader.has_answer:
            return None
    return total if attempts else None


def _candidate_records(decision: Decision) -> tuple[CandidateRecord, ...]:
    return tuple(
        [
            CandidateRecord(
                one.backend,
                one.eligible,
                one.backend == decision.chosen,
                one.cost_usd,
                None if one.latency_p50_s is None else _us(one.latency_p50_s),
                None if one.latency_p95_s is None else _us(one.latency_p95_s),
                one.latency_p_within,
                one.p_acceptable,
                one.propensity,
                one.prior,
                one.reason,
            )
            for one in decision.candidates
        ]
    )


def _attempt_record(attempt: Attempt, arrival_s: float, won: Attempt | None) -> AttemptRecord:
    logprobs = attempt.reader.token_logprobs
    has_won = attempt is won
    return AttemptRecord(
        attempt.kind,
        attempt.backend.name,
        attempt.backend.model,
        _us(attempt.started_s - arrival_s),
        _since(attempt.started_s, attempt.first_byte_s),
        _us(attempt.ended_s - attempt.started_s),
        attempt.status,
        attempt.failure,
        attempt.reader.finish_reason,
        attempt.reader.usage,
        attempt.cost_usd,
        attempt.confidence,
        sum(logprobs) / len(logprobs) if logprobs else None,
        min(logprobs) if logprobs else None,
        attempt.served_at_once,
        has_won,
        None if has_won else attempt.body or None,
    )


def _since(start_s: float, moment_s: float | None) -> int | None:
    return None if moment_s is None else _us(moment_s - start_s)


def _us(span_s: float) -> int:
    return round(span_s * 1e6)
