"""Is the memory whole? Every checksum there is, and the sums that must agree.

Journal: each frame's checksum and sequence. Store: SQLite's own structure check, children with
their parents, the rows folded against the rows there; `deep` besides reads every body and row,
verdicts included, and computes its checksum and hashes again. Nothing is changed; a running
keeper is not disturbed.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

from crc32c import crc32c

from .day_store import ORPHAN_PARTS
from .frames import TORN_TAIL, Damage, Frame
from .learning_store import FEEDBACK_COLUMNS, LABEL_COLUMNS, folded_bytes, verdict_crc
from .rows import ATTEMPT_COLUMNS, CODEC_RAW, DECISION_COLUMNS, REQUEST_COLUMNS, row_crc
from .segment_file import JOURNAL_FOLDER
from .segments import SegmentReader, describe, list_segments
from .store import DAMAGED_SUFFIX, LEARNING_FILE, day_files, has_schema, open_for_reading

PROBLEMS_MAX: Final = 1000  # a file that is wrong throughout need not fill the screen twice

_HAS_CHECKSUM: Final = "select count(*) from pragma_table_info('{}') where name = 'row_crc'"
_VERDICTS: Final = {"feedback": FEEDBACK_COLUMNS, "labels": LABEL_COLUMNS}

NOT_PROMISED: Final = frozenset((ORPHAN_PARTS,))
"""Gaps of answers that were cut off with their worker: nobody was told they are kept."""


@dataclass(slots=True)
class VerifyReport:
    """`problems` is empty where all is whole; `notes` are no faults."""

    records: int = 0
    bodies: int = 0
    verdicts: int = 0
    """Feedback and labels."""
    segments: int = 0
    frames: int = 0
    unfolded_bytes: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Nothing is damaged and nothing answered is known to be missing."""
        return not self.problems


def verify(
    directory: Path, *, deep: bool = False, progress: Callable[[str], None] = lambda _: None
) -> VerifyReport:
    """Check the journal and every file of the store; `progress` is told each file's name."""
    report = VerifyReport()
    folded = _folded_bytes(directory)
    for path in list_segments(directory / JOURNAL_FOLDER):
        progress(path.name)
        _check_segment(path, report, folded.get(path.name, 0))
    for folder in (directory / JOURNAL_FOLDER, directory):
        for path in sorted(folder.glob(f"*{DAMAGED_SUFFIX}")):
            report.problems.append(f"{path.name}: set aside, parts of it could not be read")
    for _, path in day_files(directory):
        progress(path.name)
        _check_file(path, report, lambda c, p: _check_day(c, p, report, deep=deep), deep=deep)
    learning = directory / LEARNING_FILE
    if learning.exists():
        progress(learning.name)
        _check_file(
            learning, report, lambda c, p: _check_learning(c, p, report, deep=deep), deep=deep
        )
    del report.problems[PROBLEMS_MAX:]
    return report


# -- the journal -------------------------------------------------------------------------------


def _folded_bytes(directory: Path) -> dict[str, int]:
    try:
        return folded_bytes(directory)
    except sqlite3.DatabaseError:  # told of when that file's turn comes
        return {}


def _check_segment(path: Path, report: VerifyReport, folded: int) -> None:
    try:
        reader = SegmentReader(path)
    except FileNotFoundError:  # folded just now
        return
    with reader:
        is_sealed, size = reader.is_sealed(), reader.size()
        position = sequence = 0
        while position < size:
            scan = reader.read(position, sequence, size=size, is_sealed=is_sealed)
            for item in scan.found:
                if isinstance(item, Frame):
                    report.frames += 1
                    sequence = item.sequence + 1
                else:
                    _note_damage(item, path, report)
            if scan.consumed == position:
                break
            position = scan.consumed
        report.segments += 1
        report.unfolded_bytes += max(0, size - folded)


def _note_damage(damage: Damage, path: Path, report: VerifyReport) -> None:
    line = describe(damage, path.name)
    if damage.reason == TORN_TAIL:
        report.notes.append(f"{line}: a write that was never finished, nothing was promised")
    else:
        report.problems.append(line)


# -- the store ---------------------------------------------------------------------------------


def _check_file(
    path: Path,
    report: VerifyReport,
    check: Callable[[sqlite3.Connection, Path], None],
    *,
    deep: bool,
) -> None:
    """SQLite's own checks, then ours; a file that cannot be read is a problem, not an end."""
    try:
        if not has_schema(path):
            return
        with closing(open_for_reading(path)) as connection:
            pragma = "integrity_check" if deep else "quick_check"
            for (line,) in connection.execute(f"pragma {pragma}"):
                if line != "ok":
                    report.problems.append(f"{path.name}: {line}")
            connection.execute("begin")  # one moment for all sums
            check(connection, path)
    except sqlite3.DatabaseError as error:
        report.problems.append(f"{path.name}: {error}")


def _check_day(
    connection: sqlite3.Connection, path: Path, report: VerifyReport, *, deep: bool
) -> None:
    name = path.name
    records = _number(connection, "select count(*) from requests")
    folded = _number(connection, "select sum(n_rows) from folds")
    report.records += records
    report.bodies += _number(connection, "select count(*) from bodies")
    if records != folded:
        report.problems.append(f"{name}: {records} requests, {folded} folded")
    for table, row_id, parent, _ in connection.execute("pragma foreign_key_check"):
        report.problems.append(f"{name}: {table} row {row_id} has no {parent}")
    for reason, count in connection.execute("select reason, sum(n) from gaps group by reason"):
        line = f"{name}: {count} missing ({reason})"
        (report.notes if reason in NOT_PROMISED else report.problems).append(line)
    if deep:
        report.problems += [f"{name}: {line}" for line in _body_problems(connection)]
        report.problems += [f"{name}: {line}" for line in _row_problems(connection)]


def _check_learning(
    connection: sqlite3.Connection, path: Path, report: VerifyReport, *, deep: bool
) -> None:
    report.verdicts += sum(
        _number(connection, f"select count(*) from {table}") for table in _VERDICTS
    )
    if deep:
        report.problems += [f"{path.name}: {line}" for line in _verdict_problems(connection)]
    unread = _number(connection, "select count(*) from unread_frames")
    if unread:
        report.notes.append(f"{path.name}: {unread} frames of a later version are kept unread")


def _verdict_problems(connection: sqlite3.Connection) -> Iterator[str]:
    """Feedback and labels against their rows' checksums."""
    for table, columns in _VERDICTS.items():
        if not _number(connection, _HAS_CHECKSUM.format(table)):
            continue  # of an earlier version, and nobody has written since
        rows = connection.execute(f"select {','.join(columns)}, row_crc from {table}")
        for *values, checksum in rows:
            if checksum is not None and verdict_crc(tuple(values)) != checksum:
                yield f"{table} {values[0]}: row checksum differs"


def _body_problems(connection: sqlite3.Connection) -> Iterator[str]:
    """Bodies against their own checksum."""
    rows = connection.execute("select id, codec, n_raw, crc32c, data from bodies")
    for row_id, codec, length, checksum, data in rows:
        if codec == CODEC_RAW and (len(data) != length or crc32c(data) != checksum):
            yield f"body {row_id}: checksum differs"


def _row_problems(connection: sqlite3.Connection) -> Iterator[str]:
    """Each request with its children against the row's checksum, and bodies against hashes."""
    columns = ",".join(REQUEST_COLUMNS)
    for *values, checksum in connection.execute(f"select {columns}, row_crc from requests"):
        row = tuple(values)
        seq, identifier = row[0], row[1]
        decisions = _children(connection, "decisions", DECISION_COLUMNS, seq, "rank")
        attempts = _children(connection, "attempts", ATTEMPT_COLUMNS, seq, "n")
        if checksum is not None and row_crc(row, decisions, attempts) != checksum:
            yield f"request {identifier}: row checksum differs"
        yield from _hash_problems(connection, dict(zip(REQUEST_COLUMNS, row, strict=True)))


def _hash_problems(connection: sqlite3.Connection, row: dict[str, object]) -> Iterator[str]:
    for body, digest in (("req_body", "request_sha256"), ("resp_body", "response_sha256")):
        if row[body] is None:
            continue
        stored = connection.execute(
            "select codec, data from bodies where id = ?", (row[body],)
        ).fetchone()
        if stored is None:
            yield f"request {row['id']}: {body} is missing"
        elif stored["codec"] == CODEC_RAW and sha256(stored["data"]).digest() != row[digest]:
            yield f"request {row['id']}: {digest} differs from its body"


def _children(
    connection: sqlite3.Connection, table: str, columns: tuple[str, ...], seq: object, order: str
) -> list[tuple[str | int | float | bytes | None, ...]]:
    rows = connection.execute(
        f"select {','.join(columns)} from {table} where request_seq = ? order by {order}", (seq,)
    )
    return [tuple(row) for row in rows]


def _number(connection: sqlite3.Connection, sql: str) -> int:
    (value,) = connection.execute(sql).fetchone()
    return int(value or 0)
