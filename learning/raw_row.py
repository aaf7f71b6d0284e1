"""`jsonl-raw`: everything kept of a capture as a line, every byte of its bodies in it. Pure."""

import base64
from typing import Final

import msgspec

Json = dict[str, object]

FAILED: Final = "failed"
NOT_CAPTURED: Final = "not_captured"
_BODIES: Final = frozenset(("request", "response", "request_base64", "response_base64"))
_STATUS_CODES: Final = {
    "error": FAILED, "refused": FAILED, "upstream_cut": "cut_stream", "client_gone": "client_gone",
}  # fmt: skip


_encode = msgspec.json.Encoder().encode


def left_out(found: Json) -> str | None:
    """Why a capture is not exported: the client did not receive a whole answer that was kept."""
    code = _STATUS_CODES.get(str(found["status"]))
    if code is not None:
        return code
    if not found["complete"]:
        return "cut_stream"
    http_status = found["http_status"]
    if isinstance(http_status, int) and http_status >= 400:
        return FAILED
    is_kept = body_of(found, "request") is not None and body_of(found, "response") is not None
    return None if is_kept else NOT_CAPTURED


def body_of(found: Json, name: str) -> bytes | None:
    """A body's exact bytes."""
    text = found.get(name)
    if isinstance(text, str):
        return text.encode("utf-8")
    encoded = found.get(f"{name}_base64")
    return base64.b64decode(encoded) if isinstance(encoded, str) else None


def jsonl_raw(found: Json) -> bytes:
    """Everything kept of a capture.

    A body that is a JSON object on one line stands there as it is, any other as text: either way
    its bytes can be had again, and its sha256 is beside it.
    """
    row = {key: value for key, value in found.items() if key not in _BODIES}
    row = _without_empty(row)
    for name in ("request", "response"):
        _add_raw(row, name, body_of(found, name))
    return _encode(row)


def _add_raw(row: Json, name: str, body: bytes | None) -> None:
    if body is None:
        return
    if _is_one_object(body):
        row[name] = msgspec.Raw(body)
        return
    try:
        row[name] = body.decode("utf-8")
    except UnicodeDecodeError:
        row[f"{name}_base64"] = base64.b64encode(body).decode("ascii")


def _is_one_object(body: bytes) -> bool:
    if body[:1] != b"{" or b"\n" in body or b"\r" in body:
        return False
    try:
        msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _without_empty(value: Json) -> Json:
    """Without null and empty keys, at every depth: their type would be a reader's guess."""
    kept: Json = {}
    for key, inner in value.items():
        if isinstance(inner, dict):
            inner = _without_empty(inner)
        elif isinstance(inner, list):
            inner = [_without_empty(one) if isinstance(one, dict) else one for one in inner]
        if inner not in (None, "", [], {}):
            kept[key] = inner
    return kept
