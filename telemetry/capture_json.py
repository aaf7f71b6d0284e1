"""Stored rows as the JSON that commands and the admin port print; null is unknown. Pure."""

import base64
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from .rows import CODEC_RAW

Json = dict[str, object]

Stored = sqlite3.Row | Mapping[str, Any]
"""A row by its columns' names: of a table, or of a record that is not folded yet."""

Parsed = TypeVar("Parsed")


def capture_json(row: sqlite3.Row, attempts: Sequence[sqlite3.Row], *, bodies: bool) -> Json:
    """One capture as a line of `captures --json`."""
    found: Json = {
        "id": row["id"],
        "ts": iso_time(row["ts_us"]),
        "api": row["api"],
        "route": row["route"],
        "backend": row["backend"],
        "decided": row["decided"],
        "status": row["status"],
        "complete": bool(row["complete"]),
        "http_status": row["http_status"],
        "error_type": row["error_type"],
        "finish_reason": row["finish_reason"],
        "caller": row["caller"],
        "task": row["task"],
        "labels": _parsed(row["labels"], {}),
        "conversation": row["conversation_id"],
        "model": row["model_asked"],
        "model_used": row["model_used"],
        "stream": _boolean(row["stream"]),
        "prompt_tokens": row["prompt_tok"],
        "completion_tokens": row["completion_tok"],
        "reasoning_tokens": row["reasoning_tok"],
        "cached_tokens": row["cached_tok"],
        "cost_usd": row["cost_usd"],
        "confidence": row["confidence"],
        "escalated": _boolean(row["escalated"]),
        "canary": row["canary"],
        "simulated": _boolean(row["simulated"]),
        "first_token_ms": milliseconds(row["ttft_us"]),
        "total_ms": milliseconds(row["total_us"]),
        "reason": row["reason"],
        "policy": row["policy"],
        "capture": row["capture"],
        "source": row["source"],
        "request_sha256": _hex(row["request_sha256"]),
        "response_sha256": _hex(row["response_sha256"]),
        "attempts": [attempt_json(attempt) for attempt in attempts],
    }
    if bodies:
        _add_body(found, "request", row["req_codec"], row["req_data"])
        _add_body(found, "response", row["resp_codec"], row["resp_data"])
    return found


def attempt_json(row: sqlite3.Row) -> Json:
    """One call to a backend."""
    return {
        "kind": row["kind"],
        "backend": row["backend"],
        "model": row["model"],
        "status": "ok" if row["error_type"] is None else "error",
        "http_status": row["http_status"],
        "error_type": row["error_type"],
        "finish_reason": row["finish_reason"],
        "prompt_tokens": row["prompt_tok"],
        "completion_tokens": row["completion_tok"],
        "reasoning_tokens": row["reasoning_tok"],
        "cost_usd": row["cost_usd"],
        "start_ms": milliseconds(row["start_us"]),
        "first_token_ms": milliseconds(row["ttft_us"]),
        "total_ms": milliseconds(row["total_us"]),
        "confidence": row["confidence"],
        "won": bool(row["won"]),
    }


def decision_json(row: Stored, candidates: Iterable[Stored]) -> Json:
    """A kept decision in the shape of `explain --json`."""
    return {
        "decision_id": row["id"],
        "route": row["route"],
        "policy": row["policy"],
        "chosen": row["decided"],
        "reason": row["reason"],
        "candidates": candidates_json(candidates),
        "plan": _parsed(row["plan"], []),
    }


def candidates_json(rows: Iterable[Stored]) -> list[Json]:
    """The candidates of a stored decision, in the route's order."""
    return [candidate_json(row) for row in rows]


def candidate_json(row: Stored) -> Json:
    """One candidate of a stored decision."""
    return {
        "backend": row["backend"],
        "eligible": bool(row["eligible"]),
        "cost_usd": row["pred_cost_usd"],
        "latency_ms": {
            "p50": milliseconds(row["pred_latency_us"]),
            "p95": milliseconds(row["pred_latency_p95_us"]),
        },
        "latency_p_within": row["pred_p_within"],
        "p_acceptable": row["pred_p_ok"],
        "propensity": row["propensity"],
        "prior": bool(row["prior"]),
        "reason": row["reason"],
    }


def iso_time(ts_us: int) -> str:
    """`2026-10-11T12:00:00.123456Z`."""
    moment = datetime.fromtimestamp(ts_us // 1_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ts_us % 1_000_000:06d}Z"


def milliseconds(span_us: int | None) -> float | None:
    """Microseconds as milliseconds; unknown stays unknown."""
    return None if span_us is None else span_us / 1000


def _add_body(found: Json, name: str, codec: int | None, data: bytes | None) -> None:
    """A body as text, or in base64 under another name where it is no UTF-8; null if not kept."""
    if data is None or codec != CODEC_RAW:
        found[name] = None
        return
    try:
        found[name] = bytes(data).decode("utf-8")
    except UnicodeDecodeError:
        found[f"{name}_base64"] = base64.b64encode(data).decode("ascii")


def _parsed(text: str | None, missing: Parsed) -> Parsed:
    return missing if text is None else json.loads(text)


def _boolean(value: int | None) -> bool | None:
    return None if value is None else bool(value)


def _hex(digest: bytes | None) -> str | None:
    return None if digest is None else bytes(digest).hex()
