"""A file of lines that is whole or is not there: written aside, synced, renamed."""

import glob
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from telemetry.sync import sync_directory

ASIDE_SUFFIX: Final = ".part"
PROGRESS_ROWS: Final = 200
NAMED_MAX: Final = 5
CHOICE_UNUSED: Final = "choice_unused"


class Row(NamedTuple):
    """One line, without its end."""

    data: bytes
    choices_unused: int = 0
    """Answers the backend gave besides the one exported."""


class LeftOut(NamedTuple):
    """A row that is not written, and why."""

    code: str
    request_id: str


@dataclass(slots=True)
class ExportReport:
    """What was written. `excluded` counts rows by reason, but `choice_unused` counts choices."""

    path: Path
    format_name: str
    rows: int = 0
    bytes_written: int = 0
    sha256: str = ""
    excluded: dict[str, int] = field(default_factory=dict)
    named: dict[str, list[str]] = field(default_factory=dict)
    """Of what is left out, the first NAMED_MAX requests of each code."""
    files: list[str] = field(default_factory=list)
    """What was written besides."""

    def exclude(self, code: str, count: int = 1, request_id: str | None = None) -> None:
        """One more row, or choice, that is left out."""
        self.excluded[code] = self.excluded.get(code, 0) + count
        if request_id is not None:
            named = self.named.setdefault(code, [])
            if len(named) < NAMED_MAX:
                named.append(request_id)


def write_rows(
    output: Path,
    found: Iterable[Row | LeftOut],
    report: ExportReport,
    progress: Callable[[int], None] = lambda done: None,
    *,
    head: bytes = b"",
) -> None:
    """Write `output`, replacing it at once when all is written. Raises OSError."""
    with written_aside(output) as file:
        _write(file, found, report, progress, head)


@contextmanager
def written_aside(output: Path) -> Iterator[BinaryIO]:
    """A file that takes `output`'s place when it is whole."""
    aside = aside_of(output)
    try:
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(output)
        sync_directory(output.absolute().parent)
    finally:
        aside.unlink(missing_ok=True)


def aside_of(output: Path) -> Path:
    """Where what will be `output` is made; what killed processes have left there is removed."""
    for path in output.parent.glob(f".{glob.escape(output.name)}.*{ASIDE_SUFFIX}"):
        pid = path.name[len(output.name) + 2 : -len(ASIDE_SUFFIX)]
        if pid.isdigit() and not _is_alive(int(pid)):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return output.with_name(f".{output.name}.{os.getpid()}{ASIDE_SUFFIX}")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _write(
    file: BinaryIO,
    found: Iterable[Row | LeftOut],
    report: ExportReport,
    progress: Callable[[int], None],
    head: bytes,
) -> None:
    file.write(head)
    report.bytes_written += len(head)
    digest = hashlib.sha256(head)
    done = 0
    for done, row in enumerate(found, start=1):
        if isinstance(row, LeftOut):
            report.exclude(row.code, request_id=row.request_id)
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
