"""What a capture level leaves of a record. Applied before a byte reaches the disk."""

from hashlib import sha256

from msgspec.structs import replace

from .record import AttemptRecord, RequestRecord


def reduced(record: RequestRecord) -> RequestRecord:
    """`full`: all of it; `metadata`: without the bodies, with their hashes; `off`: the bill.

    `off` keeps id, moment, route, backend, status, tokens and cost, and nothing that was said
    or that tells who said it.
    """
    if record.capture == "full":
        return record
    if record.capture == "metadata":
        return _without_bodies(record)
    return RequestRecord(
        id=record.id,
        ts_us=record.ts_us,
        api=record.api,
        status=record.status,
        complete=record.complete,
        capture="off",
        http_status=None,
        route=record.route,
        backend=record.backend,
        usage=record.usage,
        usage_estimated=record.usage_estimated,
        cost_usd=record.cost_usd,
        price_version=record.price_version,
        is_simulated=record.is_simulated,
        source=record.source,
    )


def _without_bodies(record: RequestRecord) -> RequestRecord:
    return replace(
        record,
        request=None,
        response=None,
        response_parts=0,
        attempts=tuple(map(_without_body, record.attempts)),
        request_sha256=_hash(record.request) or record.request_sha256,
        response_sha256=_hash(record.response) or record.response_sha256,
        request_bytes=_length(record.request, record.request_bytes),
        response_bytes=_length(record.response, record.response_bytes),
    )


def _without_body(attempt: AttemptRecord) -> AttemptRecord:
    return attempt if attempt.body is None else replace(attempt, body=None)


def _hash(body: bytes | None) -> bytes | None:
    return None if body is None else sha256(body).digest()


def _length(body: bytes | None, given: int | None) -> int | None:
    return given if body is None else len(body)
