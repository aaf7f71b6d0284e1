"""Forgetting a person, a key or a request: everywhere in the data folder, proven by its bytes.

    tombstone -> rows and bodies out of the day files -> labels, feedback and answers of benchmarks
    -> data sets that held them as new versions without them, the old rows gone -> models trained
    on them are named: what a model has learned it keeps

Files are overwritten, not only marked free (`secure_delete`), and the write-ahead logs emptied.
The journal of a running server holds what it wrote last until its segment is full.
"""

import hashlib
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import msgspec

from telemetry.lock import DirectoryLock
from telemetry.store import day_files, open_for_reading, open_for_writing

from .captured import is_readable
from .dataset_card import card
from .dataset_report import DatasetReport
from .dataset_spec import DatasetName, DatasetSpec
from .dataset_split import SPLITS
from .dataset_table import (
    CARD_FILE,
    EXCLUDED_FILE,
    FOLDER,
    examples,
    newest_version,
    register,
    snapshot,
    sweep,
)
from .images import FOLDER as IMAGES_FOLDER
from .ledger import Ledger, now_us

Kind = Literal["id", "user", "caller"]

PIECE: Final = 500
BUILD_WAIT_S: Final = 300.0  # a build of a million rows takes one minute
_COUNT: Final = (  # of what was folded: `verify` holds the rows against it
    "insert into folds(segment, node, worker, bytes_done, n_rows, ts_us)"
    " values ('forgotten', '', -1, 0, ?, ?)"
    " on conflict(segment) do update set n_rows = n_rows + excluded.n_rows"
)
_COLUMNS: Final = {"id": "id", "user": "user_tag", "caller": "caller"}


@dataclass(slots=True)
class ForgetReport:
    """What was removed, and what could not be."""

    requests: int = 0
    labels: int = 0
    datasets: list[str] = field(default_factory=list)
    """`OLD -> NEW`; the rows of the old are gone."""
    models: list[str] = field(default_factory=list)
    """Trained on what was forgotten: they know it still."""
    unemptied: list[str] = field(default_factory=list)
    """Files whose log a reader held open: run it again."""


def forget(directory: Path, kind: Kind, subject: str) -> ForgetReport:
    """Remove every request of `subject`. Safe to repeat; a killed one is simply run again.

    Raises Locked where a build runs and does not end.
    """
    report = ForgetReport()
    lock = DirectoryLock(directory / FOLDER, "build")  # a build would keep what it has read
    lock.acquire(BUILD_WAIT_S)
    with lock, Ledger(directory) as ledger:
        ledger.run(
            "insert or ignore into tombstones(subject, kind, ts_us) values (?,?,?)",
            (subject, kind, now_us()),
        )
        identifiers = sorted(_identifiers(directory, kind, subject, ledger))
        _mark(ledger, identifiers)
        for path in _day_paths(directory):
            report.requests += _forget_day(path, identifiers)
            if not _empty_log(path, "capture"):
                report.unemptied.append(path.name)
        report.labels = _forget_labels(ledger, identifiers)
        _forget_datasets(directory, ledger, set(identifiers), report)
        ledger.run("update tombstones set done_us = ? where done_us is null", (now_us(),))
        path = ledger.path
    if not _empty_log(path, "learning"):
        report.unemptied.append(path.name)
    return report


def _identifiers(directory: Path, kind: Kind, subject: str, ledger: Ledger) -> set[str]:
    """Requests of the subject, those an earlier, killed run had found among them."""
    found = {subject} if kind == "id" else set()
    for row in ledger.rows("select subject from tombstones where kind = 'id' and done_us is null"):
        found.add(row["subject"])
    for path in _day_paths(directory):
        with closing(open_for_reading(path)) as connection:
            sql = f"select id from requests where {_COLUMNS[kind]} = ?"
            found |= {row[0] for row in connection.execute(sql, (subject,))}
    return found


def _mark(ledger: Ledger, identifiers: Sequence[str]) -> None:
    rows = ((identifier, now_us()) for identifier in identifiers)
    ledger.write_in_pieces(
        "insert or ignore into tombstones(subject, kind, ts_us) values (?,'id',?)", rows
    )


def _day_paths(directory: Path) -> list[Path]:
    return [path for _, path in day_files(directory) if is_readable(path)]


def _forget_day(path: Path, identifiers: Sequence[str]) -> int:
    """Rows, decisions, attempts and bodies; in pieces, for the fold waits meanwhile."""
    connection = open_for_writing(path, "capture")
    try:
        return sum(_forget_piece(connection, piece) for piece in _pieces(identifiers))
    finally:
        connection.close()


def _forget_piece(connection: sqlite3.Connection, identifiers: Sequence[str]) -> int:
    marks = ",".join("?" * len(identifiers))
    rows = connection.execute(
        f"select seq, req_body, resp_body from requests where id in ({marks})", identifiers
    ).fetchall()
    if not rows:
        return 0
    connection.execute("begin immediate")
    try:
        for seq, request, response in rows:
            attempts = connection.execute(
                "select body from attempts where request_seq = ? and body is not null", (seq,)
            ).fetchall()
            for table in ("attempts", "decisions"):
                connection.execute(f"delete from {table} where request_seq = ?", (seq,))
            connection.execute("delete from requests where seq = ?", (seq,))
            for body in (request, response, *(row[0] for row in attempts)):
                connection.execute("delete from bodies where id = ?", (body,))
        connection.execute(_COUNT, (-len(rows), now_us()))
    except BaseException:
        connection.execute("rollback")
        raise
    connection.execute("commit")
    return len(rows)


def _forget_labels(ledger: Ledger, identifiers: Sequence[str]) -> int:
    count = 0
    for piece in _pieces(identifiers):
        marks = ",".join("?" * len(piece))
        for table, column in (
            ("labels", "request_id"),
            ("feedback", "request_id"),
            ("label_requests", "request_id"),
            ("eval_items", "question_id"),
        ):
            count += ledger.run(f"delete from {table} where {column} in ({marks})", piece)
    return count


def _forget_datasets(
    directory: Path, ledger: Ledger, identifiers: set[str], report: ForgetReport
) -> None:
    """Every version that holds one of them is replaced; what killed builds have left goes."""
    for folder in (directory / FOLDER).glob("*"):
        sweep(folder)
    shutil.rmtree(directory / IMAGES_FOLDER, ignore_errors=True)  # fetched again where needed
    touched: set[str] = set()
    for piece in _pieces(sorted(identifiers)):
        marks = ",".join("?" * len(piece))
        sql = f"select distinct dataset_id from dataset_rows where request_id in ({marks})"
        touched |= {row["dataset_id"] for row in ledger.rows(sql, piece)}
    for identifier in sorted(touched):
        row = ledger.row("select * from datasets where id = ?", (identifier,))
        report.models += [
            model["id"]
            for model in ledger.rows("select id from models where dataset_id = ?", (identifier,))
        ]
        if row is not None:
            new = _rewrite(directory, ledger, DatasetName(row["name"], row["version"]), identifiers)
            report.datasets.append(f"{identifier} -> {new or 'nothing left'}")
        ledger.run("delete from dataset_rows where dataset_id = ?", (identifier,))
        ledger.run("update datasets set report = '{}' where id = ?", (identifier,))


def _rewrite(
    directory: Path, ledger: Ledger, old: DatasetName, identifiers: set[str]
) -> str | None:
    """A new version of the rows that remain; the old one's rows are removed."""
    row = ledger.row("select * from datasets where id = ?", (old.id,))
    assert row is not None
    path = snapshot(directory, old)
    version = 1 + newest_version(ledger, old.name)
    place = path.parent.with_name(str(version))
    shutil.rmtree(place, ignore_errors=True)  # of a run that was killed
    new = None
    if path.is_file():
        place.mkdir(mode=0o700)
        report = msgspec.json.decode(row["report"], type=DatasetReport)
        report.id = DatasetName(old.name, version).id
        _copy_rows(path, place / path.name, identifiers, report)
        if report.n_rows:
            new = report.id
            _copy_excluded(path.with_name(EXCLUDED_FILE), place / EXCLUDED_FILE, identifiers)
            spec = msgspec.json.decode(row["spec"], type=DatasetSpec)
            (place / CARD_FILE).write_text(card(report, spec), "utf-8")
            register(ledger, old.name, version, spec, report, place / path.name)
        else:
            shutil.rmtree(place)
        for file in (path, path.with_name(EXCLUDED_FILE)):
            _overwrite(file)
    shutil.rmtree(path.parent, ignore_errors=True)
    return new


def _copy_rows(source: Path, target: Path, identifiers: set[str], report: DatasetReport) -> None:
    """The rows that remain, and what the report says of them."""
    kept: list[str] = []
    splits: Counter[str] = Counter()
    groups: set[str] = set()
    sources: Counter[str] = Counter()
    with target.open("wb") as output:
        for example in examples(source):
            if example.request_id in identifiers:
                continue
            output.write(msgspec.json.encode(example) + b"\n")
            kept.append(example.id)
            splits[example.split] += 1
            groups.add(example.group_key)
            sources[example.label_source] += 1
    gone = report.n_rows - len(kept)
    report.n_rows = len(kept)
    report.content_sha256 = hashlib.sha256("\n".join(sorted(kept)).encode()).hexdigest()
    report.splits = {split: splits[split] for split in SPLITS if splits[split]}
    report.label_sources, report.groups = dict(sorted(sources.items())), len(groups)
    report.classes = {}  # answers of those that are forgotten may be among them
    report.excluded = {**report.excluded, "tombstoned": gone}
    named = {
        code: [one for one in found if one not in identifiers]
        for code, found in report.named.items()
    }
    report.named = {code: found for code, found in named.items() if found}


def _copy_excluded(source: Path, target: Path, identifiers: set[str]) -> None:
    if not source.is_file():
        return
    with source.open("rb") as lines, target.open("wb") as output:
        for line in lines:
            if msgspec.json.decode(line)["request_id"] not in identifiers:
                output.write(line)


def _overwrite(path: Path) -> None:
    """Its bytes first: a file that is only unlinked lies on the disk."""
    if path.is_file():
        with path.open("r+b") as file:
            left = path.stat().st_size
            while left > 0:
                left -= file.write(bytes(min(left, 1 << 20)))


def _empty_log(path: Path, kind: Literal["capture", "learning"]) -> bool:
    """Move the write-ahead log into the file and empty it; False where a reader holds it."""
    connection = open_for_writing(path, kind)
    try:
        (is_busy, *_) = connection.execute("pragma wal_checkpoint(truncate)").fetchone()
    finally:
        connection.close()
    return not is_busy


def _pieces(identifiers: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(identifiers), PIECE):
        yield identifiers[start : start + PIECE]
