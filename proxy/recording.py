"""From an exchange that has ended to the record of it."""

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from adapters.answer_reader import AnswerReader
from policies.choice import Candidate
from policies.decision import Decision
from policies.identity import read_labels
from telemetry.record import (
    AttemptRecord,
    BodyPart,
    CandidateRecord,
    CaptureLevel,
    PlanRecord,
    RequestRecord,
    Status,
)

from .attempt import Attempt

if TYPE_CHECKING:
    from .exchange import Exchange
    from .passing import Passing

_UNREAD: Final = AnswerReader()
PACKED_MAX: Final = 4096
TAPE_BYTES_MAX: Final = 256 << 10
"""A response is held for its record up to this size; beyond it goes to the journal in parts."""
MASKED_BYTES_MAX: Final = 1 << 20
"""A response that is to be masked is held whole up to this size; a larger one is not kept."""

_ORDER: Final[tuple[CaptureLevel, ...]] = ("off", "metadata", "full")


class Ending:
    """How an exchange ended. `won` is the attempt whose answer the client received."""

    __slots__ = ("ended_s", "error_type", "first_byte_s", "http_status", "status", "won")

    def __init__(
        self,
        status: Status,
        http_status: int | None,
        error_type: str | None,
        won: Attempt | None,
        first_byte_s: float | None,
        ended_s: float,
    ) -> None:
        self.status: Status = status
        self.http_status = http_status
        self.error_type = error_type
        self.won = won
        self.first_byte_s = first_byte_s
        self.ended_s = ended_s


class Tape:
    """The response as the client receives it, kept for the record as the capture level says."""

    __slots__ = (
        "_append_part",
        "_bytes",
        "_hash",
        "_held_max",
        "_id",
        "_is_whole",
        "_level",
        "_pieces",
        "parts",
    )

    def __init__(self, identity: str, append_part: Callable[[BodyPart], None]) -> None:
        self._id = identity
        self._append_part = append_part
        self._level: CaptureLevel = "full"
        self._pieces: list[bytes] = []
        self._bytes = 0
        self._hash: hashlib._Hash | None = None
        self.parts = 0
        self._held_max = TAPE_BYTES_MAX
        self._is_whole = False

    def set_level(self, level: CaptureLevel) -> None:
        """To be said before the first byte."""
        self._level = level
        if level == "metadata":
            self._hash = hashlib.sha256()

    def hold_whole(self) -> None:
        """It is to be masked: nothing of it goes to the journal before all of it is here."""
        self._is_whole, self._held_max = True, MASKED_BYTES_MAX

    def add(self, data: bytes) -> None:
        """Body bytes as the client receives them, without their framing."""
        if self._level == "full":
            self._pieces.append(data)
            self._bytes += len(data)
            if self._bytes > self._held_max:
                self._spill()
        elif self._hash is not None:
            self._hash.update(data)
            self._bytes += len(data)

    def rest(self) -> bytes | None:
        """What was not spilled; None where nothing is kept."""
        if self._level != "full":
            return None
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def digest(self) -> bytes | None:
        """SHA-256 of the whole where the body itself is not kept."""
        return None if self._hash is None else self._hash.digest()

    def length(self) -> int | None:
        """Bytes of the whole where the body itself is not kept."""
        return None if self._hash is None else self._bytes

    def _spill(self) -> None:
        if self._is_whole:  # too large to be masked, and so to be kept
            pieces, self._pieces = self._pieces, []
            self._level, self._hash = "metadata", hashlib.sha256(b"".join(pieces))
            return
        self._append_part(BodyPart(self._id, self.parts, b"".join(self._pieces)))
        self.parts += 1
        self._pieces = []
        self._bytes = 0


def lower_level(level: CaptureLevel, asked: bytes | None) -> CaptureLevel:
    """The route's capture level, lowered where the client asks for less."""
    if asked not in (b"off", b"metadata"):
        return level
    return min(level, "off" if asked == b"off" else "metadata", key=_ORDER.index)


class Packed(NamedTuple):
    """A decision's candidates and plan as records carry them: `msgspec.Raw`, packed already."""

    candidates: Any
    plan: Any


class Packer:
    """Encodes candidates and plan once: the decisions of one kind of request share them.

    The cache is keyed by the identity of a tuple that it keeps alive itself.
    """

    def __init__(self) -> None:
        self._packed: dict[int, tuple[tuple[Candidate, ...], Packed]] = {}

    def __call__(self, decision: Decision) -> Packed:
        """The record's fields `candidates` and `plan`; the journal passes raw msgpack on."""
        found = self._packed.get(id(decision.candidates))
        if found is not None:
            return found[1]
        if len(self._packed) >= PACKED_MAX:
            self._packed.clear()
        packed = Packed(_raw(candidate_records(decision)), _raw(plan_records(decision)))
        self._packed[id(decision.candidates)] = (decision.candidates, packed)
        return packed


def plan_records(decision: Decision) -> tuple[PlanRecord, ...]:
    """What may follow the first attempt."""
    return tuple([PlanRecord(one.step, one.backend, one.condition) for one in decision.plan])


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.msgpack.encode(value))


def record_of(exchange: "Exchange", ending: Ending) -> RequestRecord:
    """The record of an exchange that ended with `ending`.

    By position, in the order of the record's fields: by name it costs three times as much.
    """
    features, decision, won = exchange.features, exchange.decision, ending.won
    if features is None or decision is None:
        return _undecided(exchange, ending)
    reader = _UNREAD if won is None else won.reader
    backend = None if won is None else won.backend
    attempts = exchange.attempts
    tape = exchange.tape
    packed = exchange.pack(decision)
    arrival_s = exchange.arrival_s
    return RequestRecord(
        exchange.id,
        exchange.ts_us,
        exchange.api,
        ending.status,
        ending.status == "ok",
        exchange.capture,
        ending.http_status,
        decision.route.name,
        None if backend is None else backend.name,
        decision.chosen,
        decision.policy,
        features.model,
        None if backend is None else backend.model,
        reader.model,
        features.is_stream,
        features.choices,
        features.has_tools,
        features.has_images,
        features.response_format,
        exchange.caller,
        exchange.client_request_id,
        features.conversation,
        features.task,
        features.labels,
        features.labels_ignored,
        features.user,
        decision.seed,
        decision.state,
        decision.reason,
        ending.error_type,
        reader.finish_reason,
        reader.usage,
        False,
        exchange.cost_usd,
        None if backend is None else exchange.wiring.price_versions[backend.name],
        None if ending.first_byte_s is None else int((ending.first_byte_s - arrival_s) * 1e6),
        int((ending.ended_s - arrival_s) * 1e6),
        exchange.overhead_us,
        None if won is None else won.confidence,
        len(attempts) > 1 and _is_escalated(attempts, won),
        exchange.canary,
        exchange.is_sticky,
        won is not None and won.target.is_simulated,
        reader.is_unparsed,
        reader.response_id,
        None if won is None else ", ".join(won.prepared.edited) or None,
        "traffic",
        packed.candidates,
        tuple([attempt_record(one, arrival_s, won) for one in attempts]),
        exchange.body,
        tape.rest(),
        tape.parts,
        None,
        tape.digest(),
        None,
        tape.length(),
        packed.plan,
    )


def _is_escalated(attempts: Sequence[Attempt], won: Attempt | None) -> bool:
    """An answer was not trusted; the one it was to be compared with counts where it was given."""
    if won is not None and won.kind == "agreement":
        return True
    return any(attempt.kind == "escalation" for attempt in attempts)


def _undecided(exchange: "Exchange", ending: Ending) -> RequestRecord:
    """The record of a request that no route took."""
    features = exchange.features
    return RequestRecord(
        id=exchange.id,
        ts_us=exchange.ts_us,
        api=exchange.api,
        status=ending.status,
        complete=False,
        capture=exchange.capture,
        http_status=ending.http_status,
        policy=exchange.wiring.policy.digest,
        model_asked=features.model if features else None,
        is_stream=features.is_stream if features else False,
        caller=exchange.caller,
        client_request_id=exchange.client_request_id,
        labels=features.labels if features else {},
        labels_ignored=features.labels_ignored if features else 0,
        error_type=ending.error_type,
        total_us=_us(ending.ended_s - exchange.arrival_s),
        request=exchange.body,
        response=exchange.tape.rest(),
        response_sha256=exchange.tape.digest(),
        response_bytes=exchange.tape.length(),
    )


def passing_record(passing: "Passing", ending: Ending) -> RequestRecord:
    """The record of a request that was passed through: metadata, whatever it was."""
    head, won, upload = passing.head, ending.won, passing.upload
    labels, ignored = read_labels(head.labels(), None)
    arrival_s = passing.arrival_s
    first_s = ending.first_byte_s
    if first_s is None and ending.http_status is not None:
        first_s = ending.ended_s
    return RequestRecord(
        id=passing.id,
        ts_us=passing.ts_us,
        api=passing.passage.api,
        status=ending.status,
        complete=ending.status == "ok",
        capture=passing.capture,
        http_status=ending.http_status,
        backend=None if won is None else won.backend.name,
        policy=passing.wiring.policy.digest,
        caller=passing.caller,
        client_request_id=passing.client_request_id,
        labels=labels,
        labels_ignored=ignored,
        error_type=ending.error_type,
        first_byte_us=None if first_s is None else _us(first_s - arrival_s),
        total_us=_us(ending.ended_s - arrival_s),
        is_simulated=won is not None and won.target.is_simulated,
        attempts=() if won is None else (attempt_record(won, arrival_s, won),),
        request_sha256=upload.digest(),
        request_bytes=upload.length if passing.capture == "metadata" else None,
        response_sha256=passing.tape.digest(),
        response_bytes=passing.tape.length(),
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


def candidate_records(decision: Decision) -> tuple[CandidateRecord, ...]:
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


def attempt_record(attempt: Attempt, arrival_s: float, won: Attempt | None) -> AttemptRecord:
    """One attempt; `won` is the one whose answer the client received."""
    reader = attempt.reader
    logprobs = reader.token_logprobs
    has_won = attempt is won
    return AttemptRecord(
        attempt.kind,
        attempt.backend.name,
        None if attempt.passes else attempt.backend.model,
        _us(attempt.started_s - arrival_s),
        _since(attempt.started_s, attempt.first_byte_s),
        _us(attempt.ended_s - attempt.started_s),
        attempt.status,
        attempt.failure,
        reader.finish_reason,
        reader.usage,
        attempt.cost_usd,
        attempt.raw_confidence,
        sum(logprobs) / len(logprobs) if logprobs else None,
        min(logprobs) if logprobs else None,
        attempt.served_at_once,
        has_won,
        None if has_won else attempt.body or None,
    )


def _since(start_s: float, moment_s: float | None) -> int | None:
    return None if moment_s is None else int((moment_s - start_s) * 1e6)


def _us(span_s: float) -> int:
    return int(span_s * 1e6)
