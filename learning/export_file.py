"""A file of lines that is whole or is not there: written aside, synced, renamed."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from telemetry.sync import sync_directory

PROGRESS_ROWS: Final = 200
CHOICE_UNUSED: Final = "choice_unused"


class Row(NamedTuple):
    """One line, without its end."""

    data: bytes
    choices_unused: int = 0
    """Answers the backend gave besides the one exported."""


class LeftOut(NamedTuple):
    """A row that is not written, and why."""

    code: str


@dataclass(slots=True)
class ExportReport:
    """What was written. `excluded` counts rows by reason, but `choice_unused` counts choices."""

    path: Path
    format_name: str
    rows: int = 0
    bytes_written: int = 0
    sha256: str = ""
    excluded: dict[str, int] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    """What was written besides."""

    def exclude(self, code: str, count: int = 1) -> None:
        """One more row, or choice, that is left out."""
        self.excluded[code] = self.excluded.get(code, 0) + count


def write_rows(
    output: Path,
    found: Iterable[Row | LeftOut],
    report: ExportReport,
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Write `output`, replacing it at once when all is written. Raises OSError."""
    with written_aside(output) as file:
        _write(file, found, report, progress)


@contextmanager
def written_aside(output: Path) -> Iterator[BinaryIO]:
    """A file that takes `output`'s place when it is whole."""
    aside = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(output)
        sync_directory(output.absolute().parent)
    finally:
        aside.unlink(missing_ok=True)


def _write(
    file: BinaryIO,
    found: Iterable[Row | LeftOut],
    report: ExportReport,
    progress: Callable[[int], None],
) -> None:
    digest = hashlib.sha256()
    done = 0
    for done, row in enumerate(found, start=1):
        if isinstance(row, LeftOut):
            report.exclude(row.code)
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
