"""Captures as files for others: one row after the other, never more than one in memory.

    store -> each capture -> format(capture): bytes of a row, or Excluded(code) -> a file aside
    -> fsync -> renamed into place: the output is whole or is not there

A format is a pure function in FORMATS. Only answers that completed are exported; what is left out
is counted by reason.
"""

import base64
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Final, NamedTuple

import msgspec

from telemetry.queries import captures, count_captures
from telemetry.sync import sync_directory

from .assemble import assemble
from .chat_row import UNREADABLE, Excluded, chat_row

Json = dict[str, object]
Progress = Callable[[int, int], None]

FAILED: Final = "failed"
CUT_STREAM: Final = "cut_stream"
CLIENT_GONE: Final = "client_gone"
NOT_CAPTURED: Final = "not_captured"
CHOICE_UNUSED: Final = "choice_unused"
NOT_CHAT: Final = "not_chat"

PROGRESS_ROWS: Final = 200
_BODIES: Final = frozenset(("request", "response", "request_base64", "response_base64"))
_STATUS_CODES: Final = MappingProxyType(
    {"error": FAILED, "refused": FAILED, "upstream_cut": CUT_STREAM, "client_gone": CLIENT_GONE}
)


class Row(NamedTuple):
    """One line, without its end."""

    data: bytes
    choices_unused: int = 0
    """Answers the backend gave besides the one exported."""


Format = Callable[[Json], Row]


@dataclass(slots=True)
class ExportReport:
    """What was written. `excluded` counts rows by reason, but `choice_unused` counts choices."""

    path: Path
    format_name: str
    rows: int = 0
    bytes_written: int = 0
    sha256: str = ""
    excluded: dict[str, int] = field(default_factory=dict)

    def exclude(self, code: str, count: int = 1) -> None:
        """One more row, or choice, that is left out."""
        self.excluded[code] = self.excluded.get(code, 0) + count


def export(
    directory: Path,
    output: Path,
    *,
    format_name: str,
    since_us: int | None = None,
    route: str | None = None,
    progress: Progress = lambda done, total: None,
) -> ExportReport:
    """Write the captures of `directory` to `output`, replacing it at once when all is written.

    `progress(done, total)` is called now and then. Raises KeyError for an unknown format, OSError
    where the file cannot be written; the output is then as it was.
    """
    make_row = FORMATS[format_name]
    total = count_captures(directory, since_us=since_us, route=route)
    found = captures(directory, since_us=since_us, route=route, bodies=True, candidates=True)
    report = ExportReport(output, format_name)
    aside = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        with aside.open("wb") as file:
            _write_rows(file, found, make_row, report, lambda done: progress(done, total))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(output)
        sync_directory(output.absolute().parent)
    finally:
        aside.unlink(missing_ok=True)
    return report


def _write_rows(
    file: BinaryIO,
    found: Iterable[Json],
    make_row: Format,
    report: ExportReport,
    progress: Callable[[int], None],
) -> None:
    digest = hashlib.sha256()
    done = 0
    for done, capture in enumerate(found, start=1):
        try:
            check_completed(capture)
            row = make_row(capture)
        except Excluded as excluded:
            report.exclude(excluded.code)
        else:
            line = row.data + b"\n"
            file.write(line)
            digest.update(line)
            report.rows += 1
            report.bytes_written += len(line)
            if row.choices_unused:
                report.exclude(CHOICE_UNUSED, row.choices_unused)
        if done % PROGRESS_ROWS == 0:
            progress(done)
    progress(done)
    report.sha256 = digest.hexdigest()


def check_completed(capture: Json) -> None:
    """Raise Excluded unless the client received a whole, successful answer that was kept."""
    status = capture["status"]
    if status in _STATUS_CODES:
        raise Excluded(_STATUS_CODES[str(status)])
    if not capture["complete"]:
        raise Excluded(CUT_STREAM)
    http_status = capture["http_status"]
    if isinstance(http_status, int) and http_status >= 400:
        raise Excluded(FAILED)
    if body_of(capture, "request") is None or body_of(capture, "response") is None:
        raise Excluded(NOT_CAPTURED)


def body_of(capture: Json, name: str) -> bytes | None:
    """A body's exact bytes."""
    text = capture.get(name)
    if isinstance(text, str):
        return text.encode("utf-8")
    encoded = capture.get(f"{name}_base64")
    return base64.b64decode(encoded) if isinstance(encoded, str) else None


# -- formats -----------------------------------------------------------------------------------


def openai_chat(capture: Json) -> Row:
    """A row of OpenAI's fine-tuning format. Raises Excluded."""
    if capture["api"] != "chat":
        raise Excluded(NOT_CHAT)
    try:
        request = msgspec.json.decode(body_of(capture, "request") or b"", type=Json)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Excluded(UNREADABLE) from error
    answer = assemble(body_of(capture, "response") or b"")
    if answer is None:
        raise Excluded(UNREADABLE)
    if not answer.is_whole:
        raise Excluded(CUT_STREAM)
    return Row(msgspec.json.encode(chat_row(request, answer)), answer.choices - 1)


def jsonl_raw(capture: Json) -> Row:
    """Everything kept of a capture.

    A body that is a JSON object on one line stands there as it is, any other as text: either way
    its bytes can be had again, and its sha256 is beside it.
    """
    row = {key: value for key, value in capture.items() if key not in _BODIES}
    row = _without_empty(row)
    for name in ("request", "response"):
        _add_raw(row, name, body_of(capture, name))
    return Row(msgspec.json.encode(row))


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


FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {"openai-chat": openai_chat, "jsonl-raw": jsonl_raw}
)
