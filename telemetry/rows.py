"""A record as rows: pure functions from the journal's payload to the tables of a day file.

`row_crc` covers a request's row and those of its decision and attempts, so that a flipped bit
in the database is found although SQLite keeps no checksums. Booleans are stored, and summed,
as 0 and 1 (`+True` is 1, at half the price of a call); `None` stays null.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from math import isnan
from typing import Final

import msgspec
from crc32c import crc32c

from .record import AttemptRecord, CandidateRecord, PlanRecord, RequestRecord

CODEC_RAW: Final = 0

Value = str | int | float | bytes | None
Row = tuple[Value, ...]

REQUEST_COLUMNS: Final = (
    "seq", "id", "ts_us", "api", "status", "complete", "http_status", "error_type",
    "finish_reason", "capture", "source", "node", "worker", "route", "policy", "config_hash",
    "backend", "decided", "model_asked", "model_used", "model_reported", "price_version",
    "caller", "user_tag", "conversation_id", "parent_id", "task", "labels", "labels_ignored",
    "client_request_id", "seed", "state", "reason", "plan", "edited", "stream", "n",
    "has_tools", "has_images", "response_format", "input_hash", "req_body", "resp_body",
    "request_bytes", "response_bytes", "request_sha256", "response_sha256", "prompt_tok",
    "completion_tok", "reasoning_tok", "cached_tok", "cache_write_tok", "tok_estimated",
    "cost_usd", "ttft_us", "total_us", "proxy_us", "confidence", "escalated", "canary",
    "sticky", "simulated", "unparsed", "provider_response_id", "pii_state",
)  # fmt: skip
DECISION_COLUMNS: Final = (
    "request_seq", "rank", "backend", "pred_cost_usd", "pred_latency_us",
    "pred_latency_p95_us", "pred_p_within", "pred_p_ok", "score", "propensity", "eligible",
    "reason", "chosen", "explore", "prior",
)  # fmt: skip
ATTEMPT_COLUMNS: Final = (
    "request_seq", "n", "kind", "backend", "model", "start_us", "ttft_us", "total_us",
    "http_status", "error_type", "finish_reason", "prompt_tok", "completion_tok",
    "reasoning_tok", "cached_tok", "cache_write_tok", "cost_usd", "body", "confidence",
    "mean_logprob", "min_logprob", "served_at_once", "won",
)  # fmt: skip
REQUEST_DEFAULTS: Final = {
    "labels_ignored": 0, "stream": 0, "n": 1, "has_tools": 0, "has_images": 0, "tok_estimated": 0,
    "escalated": 0, "sticky": 0, "simulated": 0, "unparsed": 0, "pii_state": 0,
}  # fmt: skip
"""As in the schema: what a plain request has, so that a batch of them need not say it."""

BODY_COLUMNS: Final = ("id", "codec", "n_raw", "crc32c", "data")

KEPT_WHEN_OFF: Final = frozenset(
    ("seq", "id", "ts_us", "api", "status", "complete", "capture", "source", "route", "backend",
     "price_version", "prompt_tok", "completion_tok", "reasoning_tok", "cached_tok",
     "cache_write_tok", "tok_estimated", "cost_usd", "simulated")
)  # fmt: skip

_encode = msgspec.msgpack.Encoder().encode
_encode_json = msgspec.json.Encoder().encode
_encode_canonical = msgspec.json.Encoder(order="deterministic").encode


class _Input(msgspec.Struct):
    """What an answer depends on, and nothing else of the request."""

    messages: object = None
    tools: object = None
    response_format: object = None


_decode_input = msgspec.json.Decoder(_Input).decode


BodyFacts = tuple[int | None, int | None, bytes | None]
"""Row in `bodies` (None: not kept), length, sha256; a plain tuple, three of them a record."""


def input_hash(body: bytes | None) -> bytes | None:
    """First 16 bytes of the sha256 of canonical (messages, tools, response_format).

    Canonical: keys sorted, no spaces, UTF-8, text as it is. None where there is no such body.
    """
    if body is None:
        return None
    try:
        question = _decode_input(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if question.messages is None:
        return None
    parts = (question.messages, question.tools, question.response_format)
    return sha256(_encode_canonical(parts)).digest()[:16]


def request_row(
    record: RequestRecord,
    *,
    seq: int,
    node: str,
    worker: int,
    request: BodyFacts,
    response: BodyFacts,
) -> Row:
    """The row of `requests`, in the order of REQUEST_COLUMNS (without `row_crc`)."""
    usage = record.usage
    request_body, request_bytes, request_digest = request
    response_body, response_bytes, response_digest = response
    row: Row = (
        seq,
        record.id,
        record.ts_us,
        record.api,
        record.status,
        +record.complete,
        record.http_status,
        record.error_type,
        record.finish_reason,
        record.capture,
        record.source,
        node,
        worker,
        record.route,
        record.policy,
        None,
        record.backend,
        record.decided,
        record.model_asked,
        record.model_used,
        record.model_reported,
        record.price_version,
        record.caller,
        record.user,
        record.conversation,
        None,
        record.task,
        _json(record.labels),
        record.labels_ignored,
        record.client_request_id,
        record.seed,
        record.state,
        record.reason,
        _plan_json(record.plan) if record.plan else None,
        record.edited,
        +record.is_stream,
        record.choices,
        +record.has_tools,
        +record.has_images,
        record.response_format,
        input_hash(record.request),
        request_body,
        response_body,
        request_bytes,
        response_bytes,
        request_digest,
        response_digest,
        usage.prompt,
        usage.completion,
        usage.reasoning,
        usage.cached,
        usage.cache_write,
        +record.usage_estimated,
        record.cost_usd,
        record.first_byte_us,
        record.total_us,
        record.overhead_us,
        record.confidence,
        +record.is_escalated,
        record.canary,
        +record.is_sticky,
        +record.is_simulated,
        +record.is_unparsed,
        record.provider_response_id,
        record.pii_state,
    )
    if record.capture != "off":
        return row
    return tuple(
        value if column in KEPT_WHEN_OFF else None
        for column, value in zip(REQUEST_COLUMNS, row, strict=True)
    )


def candidate_rows(candidates: Sequence[CandidateRecord]) -> tuple[Row, ...]:
    """Rows of `decisions`, in the order of DECISION_COLUMNS but for the first, the request's."""
    return tuple(
        [
            (
                rank,
                candidate.backend,
                candidate.cost_usd,
                candidate.latency_p50_us,
                candidate.latency_p95_us,
                candidate.latency_p_within,
                candidate.p_acceptable,
                None,
                candidate.propensity,
                +candidate.eligible,
                candidate.reason,
                +candidate.chosen,
                0,
                +candidate.prior,
            )
            for rank, candidate in enumerate(candidates)
        ]
    )


def attempt_row(attempt: AttemptRecord, *, seq: int, number: int, body: int | None) -> Row:
    """The row of `attempts`, in the order of ATTEMPT_COLUMNS; `body` is a row of `bodies`."""
    usage = attempt.usage
    return (
        seq,
        number,
        attempt.kind,
        attempt.backend,
        attempt.model,
        attempt.start_us,
        attempt.first_byte_us,
        attempt.total_us,
        attempt.http_status,
        attempt.error_type,
        attempt.finish_reason,
        usage.prompt,
        usage.completion,
        usage.reasoning,
        usage.cached,
        usage.cache_write,
        attempt.cost_usd,
        body,
        attempt.confidence,
        attempt.mean_logprob,
        attempt.min_logprob,
        attempt.served_at_once,
        +attempt.won,
    )


def row_crc(request: Row, decisions: Sequence[Row], attempts: Sequence[Row]) -> int:
    """Checksum of a request with its children, as `verify` computes it from the tables."""
    return int(crc32c(_encode((request, decisions, attempts))))


def fits_column(value: Value) -> bool:
    """SQLite can hold it: its integers have 64 bits, its text is UTF-8, it knows no NaN."""
    if isinstance(value, int):
        return -(1 << 63) <= value < 1 << 63
    if isinstance(value, float):
        return not isnan(value)
    return not isinstance(value, str) or value.isascii() or _is_utf8(value)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _json(value: object) -> str | None:
    """JSON text; null where there is nothing in it."""
    return _encode_json(value).decode() if value else None


@lru_cache(maxsize=256)
def _plan_json(plan: tuple[PlanRecord, ...]) -> str:
    """A route has few plans, and every request of it one of them."""
    steps = [{"step": s.step, "backend": s.backend, "condition": s.condition} for s in plan]
    return _encode_json(steps).decode()
