"""One day file being written: batches of records in, each in one transaction, each once.

Every batch says how far in its segment it reaches; that number is committed with the rows.
So a fold that was killed skips, after its restart, exactly what this file has already, without
looking up a single id. A record that comes from two places is found by its unique id.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec
from crc32c import crc32c

from .bulk_insert import insert_rows
from .decision_insert import Decided, insert_decisions, prepare
from .record import BodyPart, RequestRecord
from .rows import (
    ATTEMPT_COLUMNS,
    BODY_COLUMNS,
    CODEC_RAW,
    REQUEST_COLUMNS,
    REQUEST_DEFAULTS,
    BodyFacts,
    Row,
    attempt_row,
    candidate_rows,
    request_row,
    row_crc,
)
from .store import open_for_writing

BODY_BYTES_MAX: Final = 900_000_000  # SQLite's own limit is 10^9 for a value
PART_MISSING: Final = "part missing"
BODY_TOO_LARGE: Final = "body too large"
ORPHAN_PARTS: Final = "orphan parts"
UNWRITABLE: Final = "unwritable"

_REFUSALS: Final = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    OverflowError,
    ValueError,  # of ours or of a decoder: one record must not hold up those behind it
    TypeError,
    RecursionError,
)


class SegmentPlace(msgspec.Struct, frozen=True):
    """Where a batch comes from, and how far in its segment it reaches."""

    segment: str
    node: str
    worker: int
    writer: str
    end: int


class Gap(msgspec.Struct, frozen=True):
    """Records known to be missing; row of the table `gaps`."""

    ts_us: int
    worker: int
    reason: str
    records: int


class DayBatch(msgspec.Struct):
    """What one read of one segment holds for one day, in the segment's order."""

    items: list[RequestRecord | BodyPart] = []
    offsets: list[int] = []
    """Where in the segment each item stands."""
    gaps: list[Gap] = []


class DayResult(msgspec.Struct):
    """What became of a batch: records that were new, in order, and items SQLite cannot hold."""

    new: list[RequestRecord] = []
    duplicates: int = 0
    refused: list[tuple[int, str]] = []
    """Index in the batch, and why."""


class _Rows(msgspec.Struct):
    """Rows waiting for their executemany."""

    requests: list[Row] = []
    decisions: list[Decided] = []
    attempts: list[Row] = []
    bodies: list[Row] = []
    gaps: list[Gap] = []
    candidates: dict[int, tuple[Row, ...]] = {}
    """Rows of the candidates, by the identity of a record's tuple of them."""


class DayStore:
    """The one writer of a day file. Close it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = open_for_writing(path, "capture")
        prepare(self._connection)
        self._inode = path.stat().st_ino
        self._done: dict[str, int] = dict(self._all("select segment, bytes_done from folds"))
        self._next_seq = self._next_body = 1
        self._load_counts()

    def __repr__(self) -> str:
        return f"<DayStore {self.path.name} next_seq={self._next_seq}>"

    @property
    def is_gone(self) -> bool:
        """The file was removed or replaced: what we wrote would be lost."""
        try:
            return self.path.stat().st_ino != self._inode
        except FileNotFoundError:
            return True

    def bytes_done(self, segment: str) -> int:
        """How far in `segment` this file has everything that is its own."""
        return self._done.get(segment, 0)

    def write(self, batch: DayBatch, place: SegmentPlace, now_us: int) -> DayResult:
        """Commit `batch` durably."""
        try:
            result = self._write(batch, place, now_us)
        except _REFUSALS:
            result = self._write(batch, place, now_us, singly=True)
        self._done[place.segment] = place.end
        return result

    def drop_orphans(self, writers: Iterable[str], now_us: int) -> int:
        """Drop parts of `writers`, who are dead; how many answers they belonged to.

        A gap row counts them: their records died with the worker, before anything was promised.
        """
        names = tuple(writers)
        dead = f"from parts where writer in ({','.join('?' * len(names))})"
        unknown = "and id not in (select id from requests)"
        [(count,)] = self._all(f"select count(distinct id) {dead} {unknown}", names)
        with self._transaction():
            if count:
                self._add_gaps([Gap(now_us, -1, ORPHAN_PARTS, count)])
            self._connection.execute(f"delete {dead}", names)
        return int(count)

    def part_writers(self) -> set[str]:
        """Who wrote the parts that wait for their record."""
        return {writer for (writer,) in self._all("select distinct writer from parts")}

    def has_parts(self) -> bool:
        """Some part waits for its record."""
        return bool(self._all("select 1 from parts limit 1"))

    def close(self) -> None:
        """Leave the file whole in itself, without its write-ahead log where nobody reads."""
        self._connection.close()

    # -- one transaction --------------------------------------------------------------------

    def _write(
        self, batch: DayBatch, place: SegmentPlace, now_us: int, *, singly: bool = False
    ) -> DayResult:
        result = DayResult()
        try:
            with self._transaction():
                if singly:
                    self._add_singly(batch, place, result, now_us)
                else:
                    self._add_all(batch, place, result)
                self._add_gaps(batch.gaps)
                self._note_progress(place, len(result.new), now_us)
        except BaseException:
            self._load_counts()
            raise
        return result

    def _add_all(self, batch: DayBatch, place: SegmentPlace, result: DayResult) -> None:
        rows = _Rows()
        for item in batch.items:
            self._add(item, rows, place, result)
        self._insert_rows(rows)

    def _add_singly(
        self, batch: DayBatch, place: SegmentPlace, result: DayResult, now_us: int
    ) -> None:
        """The slow way, where the database refused a batch: one item must not stop the rest."""
        for index, item in enumerate(batch.items):
            if isinstance(item, RequestRecord) and self._has(item.id):
                result.duplicates += 1
                continue
            self._connection.execute("savepoint item")
            try:
                rows, one = _Rows(), DayResult()
                self._add(item, rows, place, one)
                self._insert_rows(rows)
            except _REFUSALS as error:
                self._connection.execute("rollback to item")
                self._load_counts()
                result.refused.append((index, str(error)))
                self._add_gaps([Gap(now_us, place.worker, UNWRITABLE, 1)])
            else:
                result.new += one.new
            self._connection.execute("release item")

    def _add(
        self, item: RequestRecord | BodyPart, rows: _Rows, place: SegmentPlace, result: DayResult
    ) -> None:
        if isinstance(item, RequestRecord):
            self._add_record(item, rows, place)
            result.new.append(item)
        else:
            self._add_part(item, place)

    def _add_part(self, part: BodyPart, place: SegmentPlace) -> None:
        self._connection.execute(
            "insert or replace into parts(id, n, writer, data) values (?,?,?,?)",
            (part.id, part.index, place.writer, part.data),
        )

    def _add_record(self, record: RequestRecord, rows: _Rows, place: SegmentPlace) -> None:
        seq = self._next_seq
        self._next_seq = seq + 1
        if record.request is not None:
            request = self._add_body(record.request, rows)
        else:
            request = (None, record.request_bytes, record.request_sha256)
        if record.response_parts:
            response = self._join_parts(record, rows, place)
        elif record.response is not None:
            response = self._add_body(record.response, rows)
        else:
            response = (None, record.response_bytes, record.response_sha256)
        row = request_row(
            record,
            seq=seq,
            node=place.node,
            worker=place.worker,
            request=request,
            response=response,
        )
        candidates = rows.candidates.get(id(record.candidates))
        if candidates is None:
            candidates = candidate_rows(record.candidates)
            rows.candidates[id(record.candidates)] = candidates
        decisions = [(seq, *one) for one in candidates]
        attempts = [
            attempt_row(
                attempt,
                seq=seq,
                number=number,
                body=None if attempt.body is None else self._add_body(attempt.body, rows)[0],
            )
            for number, attempt in enumerate(record.attempts)
        ]
        rows.requests.append((*row, row_crc(row, decisions, attempts)))
        rows.decisions.append(Decided(seq, candidates))
        rows.attempts += attempts

    def _add_body(self, data: bytes, rows: _Rows) -> BodyFacts:
        row_id = self._take_body_id()
        length = len(data)
        rows.bodies.append((row_id, CODEC_RAW, length, crc32c(data), data))
        return row_id, length, sha256(data).digest()

    def _join_parts(self, record: RequestRecord, rows: _Rows, place: SegmentPlace) -> BodyFacts:
        """The body whose pieces came before its record; one piece in memory at a time."""
        tail = record.response or b""
        pieces = self._all(
            "select n, length(data) from parts where id = ? order by n", (record.id,)
        )
        if [n for n, _ in pieces] != list(range(record.response_parts)):
            rows.gaps.append(Gap(record.ts_us, place.worker, PART_MISSING, 1))
            return None, record.response_bytes, record.response_sha256
        length = sum(size for _, size in pieces) + len(tail)
        crc, digest = self._measure_parts(record.id, len(pieces), tail)
        row_id = None
        if length <= BODY_BYTES_MAX:
            row_id = self._store_parts(record.id, len(pieces), tail, length=length, crc=crc)
        else:
            rows.gaps.append(Gap(record.ts_us, place.worker, BODY_TOO_LARGE, 1))
        self._connection.execute("delete from parts where id = ?", (record.id,))
        return row_id, length, digest

    def _measure_parts(self, identifier: str, count: int, tail: bytes) -> tuple[int, bytes]:
        crc, digest = 0, sha256()
        for piece in self._pieces(identifier, count, tail):
            crc = crc32c(piece, crc)
            digest.update(piece)
        return crc, digest.digest()

    def _store_parts(
        self, identifier: str, count: int, tail: bytes, *, length: int, crc: int
    ) -> int:
        row_id = self._take_body_id()
        self._connection.execute(
            "insert into bodies(id, codec, n_raw, crc32c, data) values (?,?,?,?,zeroblob(?))",
            (row_id, CODEC_RAW, length, crc, length),
        )
        with self._connection.blobopen("bodies", "data", row_id) as blob:
            for piece in self._pieces(identifier, count, tail):
                blob.write(piece)
        return row_id

    def _pieces(self, identifier: str, count: int, tail: bytes) -> Iterator[bytes]:
        for number in range(count):
            [(data,)] = self._all(
                "select data from parts where id = ? and n = ?", (identifier, number)
            )
            yield data
        yield tail

    def _insert_rows(self, rows: _Rows) -> None:
        connection = self._connection
        insert_rows(connection, "bodies", BODY_COLUMNS, rows.bodies)
        insert_rows(
            connection,
            "requests",
            (*REQUEST_COLUMNS, "row_crc"),
            rows.requests,
            defaults=REQUEST_DEFAULTS,
        )
        insert_decisions(connection, rows.decisions)
        insert_rows(connection, "attempts", ATTEMPT_COLUMNS, rows.attempts)
        self._add_gaps(rows.gaps)

    def _add_gaps(self, gaps: Sequence[Gap]) -> None:
        self._connection.executemany(
            "insert into gaps(ts_us, worker, reason, n) values (?,?,?,?)",
            [(gap.ts_us, gap.worker, gap.reason, gap.records) for gap in gaps],
        )

    def _note_progress(self, place: SegmentPlace, records: int, now_us: int) -> None:
        self._connection.execute(
            "insert into folds(segment, node, worker, bytes_done, n_rows, ts_us)"
            " values (?,?,?,?,?,?) on conflict(segment) do update set"
            " bytes_done = excluded.bytes_done, n_rows = n_rows + excluded.n_rows,"
            " ts_us = excluded.ts_us",
            (place.segment, place.node, place.worker, place.end, records, now_us),
        )

    def _has(self, identifier: str) -> bool:
        return bool(self._all("select 1 from requests where id = ?", (identifier,)))

    def _take_body_id(self) -> int:
        self._next_body += 1
        return self._next_body - 1

    def _load_counts(self) -> None:
        self._next_seq = 1 + self._highest("select max(seq) from requests")
        self._next_body = 1 + self._highest("select max(id) from bodies")

    def _highest(self, sql: str) -> int:
        [(value,)] = self._all(sql)
        return int(value or 0)

    def _all(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._connection.execute("rollback")
            raise
        self._connection.execute("commit")
