"""What is kept of one request: the journal's payloads.

A record is written once, when its request has ended, whatever became of it. Structs are
`array_like` (positional) and only ever grow at the end, so a newer reader reads older
segments; `None` is unknown. Moments are integer microseconds since the epoch, spans
microseconds, money US dollars.
"""

from typing import Literal

import msgspec

from pointsman.tokens import Usage

Status = Literal["ok", "error", "upstream_cut", "client_gone", "refused"]
AttemptKind = Literal[
    "primary", "retry", "fallback", "hedge", "escalation",
    "shadow", "canary", "agreement", "judge", "probe",
]  # fmt: skip
CaptureLevel = Literal["full", "metadata", "off"]

GAP_EVENT = "gap"
"""Name of the event that counts records a writer could not keep."""


class CandidateRecord(msgspec.Struct, frozen=True, array_like=True):
    """One candidate as the decision saw it; row of the table `decisions`."""

    backend: str
    eligible: bool
    chosen: bool
    cost_usd: float | None
    latency_p50_us: int | None
    latency_p95_us: int | None
    latency_p_within: float | None
    p_acceptable: float | None
    propensity: float
    prior: bool
    reason: str


class AttemptRecord(msgspec.Struct, frozen=True, array_like=True):
    """One call to a backend; row of the table `attempts`."""

    kind: AttemptKind
    backend: str
    model: str | None
    start_us: int
    """Since the request's arrival."""
    first_byte_us: int | None
    """From this attempt's start to the first token (stream) or body byte."""
    total_us: int
    http_status: int | None
    error_type: str | None
    finish_reason: str | None
    usage: Usage
    cost_usd: float | None
    confidence: float | None
    mean_logprob: float | None
    min_logprob: float | None
    served_at_once: int
    """Requests this backend was serving when the attempt began, itself included."""
    won: bool
    body: bytes | None
    """The backend's body where it is not what the client received; else None."""


class PlanRecord(msgspec.Struct, frozen=True, array_like=True):
    """One call the decision allowed to follow, and on what condition."""

    step: str
    backend: str
    condition: str


class RequestRecord(msgspec.Struct, frozen=True, array_like=True):
    """One admitted request. `id` is a UUIDv7 made at arrival and is the record's identity."""

    id: str
    ts_us: int
    api: str
    """`chat`, later `completions`, `responses`, ...; `unknown` where the body was unreadable."""
    status: Status
    complete: bool
    """The upstream completed its answer and the client was handed all of it."""
    capture: CaptureLevel
    http_status: int | None
    route: str | None = None
    backend: str | None = None
    """The backend whose answer the client received."""
    decided: str | None = None
    """The backend the decision chose."""
    policy: str | None = None
    """Digest of the policy in force."""
    model_asked: str | None = None
    model_used: str | None = None
    model_reported: str | None = None
    is_stream: bool = False
    choices: int = 1
    has_tools: bool = False
    has_images: bool = False
    response_format: str | None = None
    caller: str | None = None
    client_request_id: str | None = None
    conversation: str | None = None
    task: str | None = None
    labels: dict[str, str] = {}
    labels_ignored: int = 0
    user: str | None = None
    seed: int | None = None
    state: str | None = None
    """Digest of the learned state the decision read."""
    reason: str | None = None
    """The decision's reason in words."""
    error_type: str | None = None
    finish_reason: str | None = None
    usage: Usage = Usage()
    usage_estimated: bool = False
    cost_usd: float | None = None
    """All attempts together."""
    price_version: str | None = None
    first_byte_us: int | None = None
    total_us: int = 0
    overhead_us: int | None = None
    """Our own time up to the head, upstream waiting excluded."""
    confidence: float | None = None
    is_escalated: bool = False
    canary: str | None = None
    is_sticky: bool = False
    is_simulated: bool = False
    is_unparsed: bool = False
    """The answer could not be read; its raw bytes are kept."""
    provider_response_id: str | None = None
    edited: str | None = None
    """What was changed on the way up, as in `x-pointsman-edited`."""
    source: str = "traffic"
    """`traffic`, or the name of an import."""
    candidates: tuple[CandidateRecord, ...] = ()
    attempts: tuple[AttemptRecord, ...] = ()
    request: bytes | None = None
    """Body bytes as the client sent them, de-chunked; None when carried by parts or not kept."""
    response: bytes | None = None
    """Body bytes as the client received them, de-chunked."""
    response_parts: int = 0
    """How many part frames of the response precede this record."""
    request_sha256: bytes | None = None
    """Given by the writer where the body itself is not kept; else the fold computes it."""
    response_sha256: bytes | None = None
    request_bytes: int | None = None
    """As the hashes: given where the body itself is not kept."""
    response_bytes: int | None = None
    plan: tuple[PlanRecord, ...] = ()
    """What might have followed the first attempt, in order."""
    pii_state: int = 0
    """Of `redact: true`: 0 nothing was found, 1 masked, 2 a body could not be and is left out."""


class BodyPart(msgspec.Struct, frozen=True, array_like=True):
    """A piece of a response too large to be held: written as it comes, before its record."""

    id: str
    index: int
    data: bytes


class FeedbackRecord(msgspec.Struct, frozen=True, array_like=True):
    """What somebody said about an answer; row of the table `feedback`."""

    id: str
    request_id: str
    ts_us: int
    name: str
    number: float | None = None
    text: str | None = None
    demonstration: bytes | None = None
    """A better answer, as the caller sent it."""
    source: str = "feedback"
    tags: dict[str, str] = {}
    caller: str | None = None
    """Whose key gave it. Like `source` written by this program, never taken from a client."""


LabelSource = Literal["teacher", "human", "rule", "judge", "shadow", "canary"]
"""Who says it, written by this program alone. `shadow`: a reference backend that was asked as
well; `canary`: a newcomer that was, which says nothing of what is right."""


class LabelRecord(msgspec.Struct, frozen=True, array_like=True):
    """One verdict on one answer; row of the table `labels`."""

    id: str
    request_id: str
    input_hash: bytes
    source: LabelSource
    ts_us: int
    model: str | None = None
    prompt_hash: str | None = None
    cache_key: str | None = None
    sample_no: int = 0
    output: bytes | None = None
    score: float | None = None
    verdict: str | None = None
    cost_usd: float | None = None
    supersedes: str | None = None
    probability: float | None = None
    """With which this request was drawn to be labelled; None: not by chance."""
    route: str | None = None
    backend: str | None = None
    """Who was asked for it, where that was a backend of ours."""
    total_us: int | None = None
    usage: Usage = Usage()
    agrees: bool | None = None
    """Whether `output` has the value of the answer the client received; None: not known."""


class EventRecord(msgspec.Struct, frozen=True, array_like=True):
    """Something that befell the writer itself, as `gap`: `number` records were not kept."""

    ts_us: int
    name: str
    worker: int
    number: int = 0
    text: str | None = None
