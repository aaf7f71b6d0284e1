"""Captures and data sets as files for others: one row after the other, never many in memory.

    captures, or the rows of a version -> each example -> format: bytes of a row, or Excluded
    -> a file aside -> renamed into place

The formats are pure functions (formats.py); `jsonl-raw` gives back every byte that was kept, and
`parquet` is a folder. Of captures only answers that completed are exported; what is left out is
counted by reason.
"""

from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from telemetry.queries import capture, captures, count_captures
from telemetry.sync import sync_directory

from .captured import Selection, captured, count_captured
from .chat_row import Excluded
from .dataset_spec import DatasetError, DatasetName
from .dataset_store import read_examples, show
from .dataset_table import CARD_FILE, snapshot
from .example import Example, Rules, example_id, example_of
from .export_file import ExportReport, LeftOut, Row, aside_of, write_rows, written_aside
from .formats import FORMATS, Format, with_reasoning
from .parquet import ParquetWriter, write_lineage
from .raw_row import jsonl_raw, left_out

Json = dict[str, object]
Progress = Callable[[int, int], None]

RAW: Final = "jsonl-raw"
PARQUET: Final = "parquet"
FORMAT_NAMES: Final = (*FORMATS, PARQUET, RAW)
LINEAGE_SUFFIX: Final = ".lineage.parquet"

LEADERS_MAX: Final = 1000
AS_CAPTURED: Final = Rules(labels="ignore")


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
        form = FORMATS[format_name]
        rows = _formatted_captures(directory, selection, form)
        write_rows(output, rows, report, lambda done: progress(done, total), head=form.head)
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

    def found() -> Iterator[Example]:
        for example in read_examples(directory, name, splits=splits):
            yield with_reasoning(example, reasoning)

    written = _Written()
    leaders = _leaders(found(), form) if form.leads else ()
    rows = _formatted(found, form, leaders, written)
    write_rows(output, rows, report, step, head=form.head)
    _check_size(output, form, report)
    _write_beside(name, output, form, report, written, found)
    return report


# -- rows --------------------------------------------------------------------------------------


def _formatted_captures(
    directory: Path, selection: Selection, form: Format
) -> Iterator[Row | LeftOut]:
    for row in captured(directory, selection):
        try:
            example, unused = example_of(row, AS_CAPTURED, None)
            example.id = example_id(example)
            lines = _lines_of(example, form)
        except Excluded as excluded:
            yield LeftOut(excluded.code, row.id)
            continue
        for line in lines:
            yield Row(form.encode(line), unused)
            unused = 0


def _examples_of_captures(
    directory: Path, selection: Selection, report: ExportReport
) -> Iterator[Example]:
    for row in captured(directory, selection):
        try:
            example = example_of(row, AS_CAPTURED, None)[0]
        except Excluded as excluded:
            report.exclude(excluded.code, request_id=row.id)
            continue
        example.id = example_id(example)
        yield example


class _Written:
    """What is remembered of rows while they are written."""

    def __init__(self) -> None:
        self.places = array("Q")
        """Of each row, the place of its example among all."""
        self.members: set[str] = set()


def _leaders(examples: Iterator[Example], form: Format) -> tuple[int, ...]:
    """Places of the first examples that show each member there is, at any depth."""
    seen: set[str] = set()
    found = []
    for place, example in enumerate(examples):
        try:
            paths = {path for line in _lines_of(example, form) for path in _paths(line, "")}
        except Excluded:
            continue
        if not paths <= seen:
            seen |= paths
            found.append(place)
    return tuple(found[:LEADERS_MAX])


def _paths(value: object, prefix: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f"{prefix}/{key}"
            yield from _paths(inner, f"{prefix}/{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from _paths(inner, f"{prefix}[]")


def _formatted(
    examples: Callable[[], Iterator[Example]],
    form: Format,
    leaders: tuple[int, ...],
    written: _Written,
) -> Iterator[Row | LeftOut]:
    """Rows, the leaders first."""
    first = frozenset(leaders)
    if first:
        for place, example in enumerate(islice(examples(), leaders[-1] + 1)):
            if place in first:
                yield from _rows_of(place, example, form, written)
    for place, example in enumerate(examples()):
        if place not in first:
            yield from _rows_of(place, example, form, written)


def _rows_of(
    place: int, example: Example, form: Format, written: _Written
) -> Iterator[Row | LeftOut]:
    try:
        lines = _lines_of(example, form)
    except Excluded as excluded:
        yield LeftOut(excluded.code, example.request_id)
        return
    for line in lines:
        written.places.append(place)
        written.members.update(line)
        yield Row(form.encode(line))


def _lines_of(example: Example, form: Format) -> list[Json]:
    made = form.make(example)
    return made if isinstance(made, list) else [made]


def _raw_rows(directory: Path, since_us: int | None, route: str | None) -> Iterator[Row | LeftOut]:
    found = captures(directory, since_us=since_us, route=route, bodies=True, candidates=True)
    for one in found:
        code = left_out(one)
        yield LeftOut(code, str(one["id"])) if code else Row(jsonl_raw(one))


def _raw_dataset_rows(
    directory: Path, name: DatasetName, splits: frozenset[str]
) -> Iterator[Row | LeftOut]:
    """The captures behind the rows, with the row's place in the data set."""
    for example in read_examples(directory, name, splits=splits):
        found = capture(directory, example.request_id)
        if found is None:
            yield LeftOut("tombstoned", example.request_id)
            continue
        found["dataset"] = {"name": name.id, "example": example.id, "split": example.split}
        if example.label_id:
            found["label"] = {"id": example.label_id, "source": example.label_source,
                              "target": example.target}  # fmt: skip
        yield Row(jsonl_raw(found))


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
    aside = aside_of(output)
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
    name: DatasetName,
    output: Path,
    form: Format,
    report: ExportReport,
    written: _Written,
    examples: Callable[[], Iterator[Example]],
) -> None:
    """Which row is which example, and the file the format's reader wants besides."""
    lineage = output.with_name(output.name + LINEAGE_SUFFIX)
    aside = aside_of(lineage)
    try:
        write_lineage(aside, _lineage(examples(), written.places))
        aside.replace(lineage)
    finally:
        aside.unlink(missing_ok=True)
    report.files.append(lineage.name)
    if form.sidecar is not None:
        suffix, make = form.sidecar
        path = output.with_name(output.name + suffix)
        with written_aside(path) as file:
            file.write(make(output.name, name.name, frozenset(written.members)))
        report.files.append(path.name)


def _lineage(examples: Iterator[Example], places: Sequence[int]) -> Iterator[Json]:
    """In the order of the examples; `row` counts the file's rows from 0."""
    rows_at = sorted(range(len(places)), key=places.__getitem__)
    wanted = iter(rows_at)
    row = next(wanted, None)
    for place, example in enumerate(examples):
        while row is not None and places[row] == place:
            yield {
                "row": row,
                "id": example.id,
                "request_id": example.request_id,
                "label_id": example.label_id,
                "group_key": example.group_key,
                "split": example.split,
            }
            row = next(wanted, None)
