"""Captures and data sets as files for others: one row after the other, never many in memory.

    captures, or the rows of a version -> each example -> format: bytes of a row, or Excluded
    -> a file aside -> renamed into place

The formats are pure functions (formats.py); `jsonl-raw` gives back every byte that was kept, and
`parquet` is a folder. Of captures only answers that completed are exported; what is left out is
counted by reason.
"""

import base64
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from telemetry.queries import capture, captures, count_captures
from telemetry.sync import sync_directory

from .captured import Selection, captured, count_captured
from .chat_row import Excluded
from .dataset_spec import DatasetError, DatasetName
from .dataset_store import read_examples, show
from .dataset_table import CARD_FILE, snapshot
from .example import Example, Rules, example_of
from .export_file import ExportReport, LeftOut, Row, write_rows, written_aside
from .formats import FORMATS, Format, with_reasoning
from .parquet import ParquetWriter, write_lineage

Json = dict[str, object]
Progress = Callable[[int, int], None]

RAW: Final = "jsonl-raw"
PARQUET: Final = "parquet"
FORMAT_NAMES: Final = (*FORMATS, PARQUET, RAW)
LINEAGE_SUFFIX: Final = ".lineage.parquet"

FAILED: Final = "failed"
NOT_CAPTURED: Final = "not_captured"
AS_CAPTURED: Final = Rules(labels="ignore")
_BODIES: Final = frozenset(("request", "response", "request_base64", "response_base64"))
_STATUS_CODES: Final = {
    "error": FAILED, "refused": FAILED, "upstream_cut": "cut_stream", "client_gone": "client_gone",
}  # fmt: skip

_encode = msgspec.json.Encoder().encode


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
    report = ExportReport(output, format_name)
    selection = Selection(since_us=since_us, route=route)
    if format_name == RAW:
        total = count_captures(directory, since_us=since_us, route=route)
        rows = _raw_rows(directory, since_us, route)
        write_rows(output, rows, report, lambda done: progress(done, total))
        return report
    total = count_captured(directory, selection)
    if format_name == PARQUET:
        found = _examples_of_captures(directory, selection, report)
        _write_parquet(output, found, report, "", lambda done: progress(done, total))
    else:
        rows = _formatted_captures(directory, selection, FORMATS[format_name])
        write_rows(output, rows, report, lambda done: progress(done, total))
    return report


def export_dataset(
    directory: Path,
    name: DatasetName,
    output: Path,
    *,
    format_name: str,
    splits: frozenset[str] = frozenset(("train",)),
    reasoning: str = "drop",
    progress: Progress = lambda done, total: None,
) -> ExportReport:
    """Write the rows of a version; beside them, where each comes from and what a reader needs.

    `splits` do not count for parquet, which holds all of them; `reasoning` says what becomes of
    thoughts, which parquet holds in a column and jsonl-raw as they came. Raises DatasetError,
    KeyError, OSError; the output is then as it was.
    """
    report = ExportReport(output, format_name)
    total = int(str(show(directory, name)["n_rows"]))

    def step(done: int) -> None:
        progress(done, total)

    if format_name == PARQUET:
        card = snapshot(directory, name).with_name(CARD_FILE).read_text("utf-8")
        _write_parquet(output, read_examples(directory, name), report, card, step)
        return report
    if format_name == RAW:
        rows = _raw_dataset_rows(directory, name, splits)
        write_rows(output, rows, report, step)
        return report
    form = FORMATS[format_name]
    kept: list[int] = []
    found = read_examples(directory, name, splits=splits)
    rows = _formatted((with_reasoning(example, reasoning) for example in found), form, kept)
    write_rows(output, rows, report, step)
    _check_size(output, form, report)
    _write_beside(directory, name, output, form, report, splits=splits, kept=kept)
    return report


# -- rows --------------------------------------------------------------------------------------


def _formatted_captures(
    directory: Path, selection: Selection, form: Format
) -> Iterator[Row | LeftOut]:
    for row in captured(directory, selection):
        try:
            example, unused = example_of(row, AS_CAPTURED, None)
            yield Row(_encode(form.make(example)), unused)
        except Excluded as excluded:
            yield LeftOut(excluded.code)


def _examples_of_captures(
    directory: Path, selection: Selection, report: ExportReport
) -> Iterator[Example]:
    for row in captured(directory, selection):
        try:
            yield example_of(row, AS_CAPTURED, None)[0]
        except Excluded as excluded:
            report.exclude(excluded.code)


def _formatted(
    examples: Iterator[Example], form: Format, kept: list[int]
) -> Iterator[Row | LeftOut]:
    """Rows; `kept` gets the places of those that are written."""
    for place, example in enumerate(examples):
        try:
            data = _encode(form.make(example))
        except Excluded as excluded:
            yield LeftOut(excluded.code)
        else:
            kept.append(place)
            yield Row(data)


def _raw_rows(directory: Path, since_us: int | None, route: str | None) -> Iterator[Row | LeftOut]:
    found = captures(directory, since_us=since_us, route=route, bodies=True, candidates=True)
    for one in found:
        code = _left_out(one)
        yield LeftOut(code) if code else Row(jsonl_raw(one))


def _raw_dataset_rows(
    directory: Path, name: DatasetName, splits: frozenset[str]
) -> Iterator[Row | LeftOut]:
    """The captures behind the rows, with the row's place in the data set."""
    for example in read_examples(directory, name, splits=splits):
        found = capture(directory, example.request_id)
        if found is None:
            yield LeftOut("tombstoned")
            continue
        found["dataset"] = {"name": name.id, "example": example.id, "split": example.split}
        if example.label_id:
            found["label"] = {"id": example.label_id, "source": example.label_source,
                              "target": example.target}  # fmt: skip
        yield Row(jsonl_raw(found))


def _left_out(found: Json) -> str | None:
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


# -- files -------------------------------------------------------------------------------------


def _write_parquet(
    output: Path,
    examples: Iterator[Example],
    report: ExportReport,
    card: str,
    progress: Callable[[int], None],
) -> None:
    """A folder, made aside and renamed; one that is there already is not replaced."""
    if output.exists():
        raise DatasetError(f"{output} is there already; parquet makes a new folder")
    aside = output.with_name(f".{output.name}.{os.getpid()}.part")
    aside.mkdir(mode=0o700)
    writer = None
    try:
        writer = ParquetWriter(aside)
        done = 0
        for done, example in enumerate(examples, start=1):
            writer.add(example)
            if done % 200 == 0:
                progress(done)
        writer.close(card)
        aside.rename(output)
        sync_directory(output.absolute().parent)
        progress(done)
    except BaseException:
        if writer is not None:
            writer.abandon()
        else:
            aside.rmdir()
        raise
    report.rows = sum(writer.rows.values())
    paths = sorted(path for path in output.rglob("*") if path.is_file())
    report.files = [str(path.relative_to(output)) for path in paths]
    report.bytes_written = sum(path.stat().st_size for path in paths)


def _check_size(output: Path, form: Format, report: ExportReport) -> None:
    """A file its reader would refuse is told of, and stays: it may be one of several."""
    if report.rows < form.rows_min:
        report.exclude(f"fewer_than_{form.rows_min}_rows", 0)
    if form.rows_max is not None and report.rows > form.rows_max:
        raise DatasetError(f"{output}: {report.rows} rows, {form.rows_max} are the most it takes")


def _write_beside(
    directory: Path,
    name: DatasetName,
    output: Path,
    form: Format,
    report: ExportReport,
    *,
    splits: frozenset[str],
    kept: Sequence[int],
) -> None:
    """Which row is which example, and the file the format's reader wants besides."""
    lineage = output.with_name(output.name + LINEAGE_SUFFIX)
    examples = read_examples(directory, name, splits=splits)
    write_lineage(lineage, _lineage(examples, kept))
    report.files.append(lineage.name)
    if form.sidecar is not None:
        suffix, text = form.sidecar
        path = output.with_name(output.name + suffix)
        with written_aside(path) as file:
            file.write(text.format(file=output.name, name=name.name).encode())
        report.files.append(path.name)


def _lineage(examples: Iterator[Example], kept: Sequence[int]) -> Iterator[Json]:
    wanted = iter(kept)
    place = next(wanted, None)
    row = 0
    for number, example in enumerate(islice(examples, kept[-1] + 1 if kept else 0)):
        if number != place:
            continue
        yield {
            "row": row,
            "id": example.id,
            "request_id": example.request_id,
            "label_id": example.label_id,
            "group_key": example.group_key,
            "split": example.split,
        }
        row += 1
        place = next(wanted, None)
