"""What commands and the admin port ask of the store; read-only, across all day files.

Rows are fetched a page at a time and no transaction stays open between pages, so a long export
neither holds memory nor keeps the keeper from truncating its log.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from .capture_json import Json, candidates_json, capture_json, decision_json
from .ids import milliseconds_of
from .logs import log
from .store import day_at, day_files, day_of, day_path, has_schema, open_for_reading
from .verdicts import FeedbackReader

PAGE_ROWS: Final = 500
FOLLOW_S: Final = 0.2

_CAPTURE: Final = """
select r.*, q.codec req_codec, q.data req_data, a.codec resp_codec, a.data resp_data
from requests r left join bodies q on q.id = {req} left join bodies a on a.id = {resp}
where r.seq = ?
"""
_WITH_BODIES: Final = _CAPTURE.format(req="r.req_body", resp="r.resp_body")
_WITHOUT_BODIES: Final = _CAPTURE.format(req="null", resp="null")
RESPONSE_DAYS_MAX: Final = 31
"""How far back an answer's own id is known: OpenAI keeps a response for 30 days."""

ANOTHERS: Final = ""
"""Instead of a backend's name: an answer that was made for somebody else."""
_RESPONSE: Final = (
    "select backend, caller is ?2 as is_theirs from requests"
    " where api = 'responses' and provider_response_id = ?1 and backend is not null"
    " order by is_theirs desc, seq desc limit 1"
)
_HAS_LABEL: Final = "exists (select 1 from json_each(labels) where key = ? and value = ?)"
_CANDIDATES: Final = "select * from decisions where request_seq = ? order by rank"
_ATTEMPTS: Final = "select * from attempts where request_seq = ? order by n"


NO_LABELS: Final[Mapping[str, str]] = MappingProxyType({})


class Extras(NamedTuple):
    """What a capture has besides its facts."""

    feedback: FeedbackReader
    bodies: bool = False
    candidates: bool = False


class Filter(NamedTuple):
    """Which captures are asked for; None takes all."""

    since_us: int | None = None
    route: str | None = None
    labels: Mapping[str, str] = NO_LABELS
    after: int | None = None
    until: int | None = None
    """Rows of one day by the order they were folded in; `until` is included."""

    def clause(self) -> tuple[str, list[object]]:
        """A `where` clause and its values."""
        conditions: list[str] = []
        values: list[object] = []
        if self.since_us is not None:
            conditions.append("ts_us >= ?")
            values.append(self.since_us)
        if self.route is not None:
            conditions.append("route = ?")
            values.append(self.route)
        for name, value in self.labels.items():
            conditions.append(_HAS_LABEL)
            values += [name.lower(), value]
        if self.after is not None:
            conditions.append("seq > ?")
            values.append(self.after)
        if self.until is not None:
            conditions.append("seq <= ?")
            values.append(self.until)
        return " and ".join(conditions) or "1", values


def captures(
    directory: Path,
    *,
    limit: int | None = None,
    since_us: int | None = None,
    route: str | None = None,
    labels: Mapping[str, str] = NO_LABELS,
    until: Mapping[Path, int] | None = None,
    bodies: bool = False,
    candidates: bool = False,
) -> Iterator[Json]:
    """Captures oldest first, in the shape of `captures --json`; with `limit`, the newest ones.

    `bodies` adds `request`, `response` and demonstrations, `candidates` adds `decision`. `until`
    is a moment of `folded_until`: what is folded later is left out.
    """
    remaining = limit
    found: list[tuple[Path, Filter, int | None]] = []
    for _, path in reversed(list(_days_since(directory, since_us))):
        if remaining is not None and remaining <= 0:
            break
        wanted = Filter(since_us, route, labels)
        if until is not None:
            wanted = wanted._replace(until=until.get(path, 0))
        found.append((path, wanted, remaining))
        if remaining is not None:
            remaining -= _count(path, wanted)
    with closing(FeedbackReader(directory)) as feedback:
        extras = Extras(feedback, bodies, candidates)
        for path, wanted, newest in reversed(found):
            try:
                yield from _captures_of_day(path, wanted, newest=newest, extras=extras)
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:  # the rest of this day; others are whole
                _report(path, error)


def count_captures(
    directory: Path,
    *,
    since_us: int | None = None,
    route: str | None = None,
    labels: Mapping[str, str] = NO_LABELS,
) -> int:
    """How many captures there are, for progress bars."""
    wanted = Filter(since_us, route, labels)
    return sum(_count(path, wanted) for _, path in _days_since(directory, since_us))


def capture(directory: Path, identifier: str, *, bodies: bool = True) -> Json | None:
    """One capture by its id."""
    with closing(FeedbackReader(directory)) as feedback:
        for path in _files_of(directory, identifier):
            with closing(open_for_reading(path)) as connection:
                rows = connection.execute("select seq from requests where id = ?", (identifier,))
                sequences = [seq for (seq,) in rows]
                for found in _captures_of(connection, sequences, Extras(feedback, bodies)):
                    return found
    return None


def decision(directory: Path, identifier: str) -> tuple[str | None, Json] | None:
    """A kept decision in the shape of `explain --json`, behind the caller it was made for."""
    for path in _files_of(directory, identifier):
        with closing(open_for_reading(path)) as connection:
            row = connection.execute(
                "select * from requests where id = ? and capture is not 'off'", (identifier,)
            ).fetchone()
            if row is not None:
                candidates = connection.execute(_CANDIDATES, (row["seq"],))
                return row["caller"], decision_json(row, candidates)
    return None


def response_backend(directory: Path, response_id: str, caller: str | None) -> str | None:
    """The backend that answered `caller` with this id, in the newest RESPONSE_DAYS_MAX days.

    ANOTHERS where only other callers had it.
    """
    anothers = None
    newest = list(_days_since(directory, None))[-RESPONSE_DAYS_MAX:]
    for _, path in reversed(newest):
        with closing(open_for_reading(path)) as connection:
            row = connection.execute(_RESPONSE, (response_id, caller)).fetchone()
            if row is not None and row["is_theirs"]:
                return str(row["backend"])
            anothers = anothers if row is None else ANOTHERS
    return anothers


def spend(directory: Path, *, since_us: int | None = None, daily: bool = False) -> list[Json]:
    """What was spent by route and backend, the dearest first. Unknown costs are counted apart.

    With `daily` a row for each UTC day besides, oldest day first.
    """
    totals: dict[tuple[str, str | None, str | None], list[float]] = {}
    condition, values = Filter(since_us).clause()
    for _, path in _days_since(directory, since_us):
        with closing(open_for_reading(path)) as connection:
            for day, route, backend, *sums in connection.execute(_spend_sql(condition), values):
                name = (day if daily else "", route, backend)
                total = totals.setdefault(name, [0.0] * len(sums))
                totals[name] = [a + b for a, b in zip(total, sums, strict=True)]
    rows = [_spend_row(key, sums) for key, sums in totals.items()]
    return sorted(rows, key=lambda row: (row.get("day", ""), -(row["cost_usd"] or 0.0)))


def follow(
    directory: Path,
    *,
    behind: Mapping[Path, int],
    route: str | None = None,
    labels: Mapping[str, str] = NO_LABELS,
    bodies: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    poll_s: float = FOLLOW_S,
) -> Iterator[Json]:
    """Captures folded `behind` a moment, as they come; ends when `should_stop` says so."""
    wanted = Filter(route=route, labels=labels)
    seen = dict(behind)
    with closing(FeedbackReader(directory)) as feedback:
        while not should_stop():
            for _, path in _days_since(directory, None):
                newest = _newest(path)
                later = wanted._replace(after=seen.get(path, 0), until=newest)
                yield from _captures_folded(path, later, Extras(feedback, bodies))
                seen[path] = newest
            time.sleep(poll_s)


def folded_until(directory: Path) -> dict[Path, int]:
    """This moment: the newest row of each day, in the order they were folded."""
    return {path: _newest(path) for _, path in _days_since(directory, None)}


# -- pages -------------------------------------------------------------------------------------


def _captures_of_day(
    path: Path, wanted: Filter, *, newest: int | None, extras: Extras
) -> Iterator[Json]:
    """One day, oldest first; the connection lives for one page at a time."""
    condition, values = wanted.clause()
    start: tuple[int, int] | None = None
    if newest is not None:
        start = _start_of_newest(path, wanted, newest)
    while True:
        after = "" if start is None else " and (ts_us, seq) > (?, ?)"
        page = (
            f"select ts_us, seq from requests where {condition}{after}"
            f" order by ts_us, seq limit {PAGE_ROWS}"
        )
        with closing(open_for_reading(path)) as connection:
            keys = [tuple(row) for row in connection.execute(page, (*values, *(start or ())))]
            yield from _captures_of(connection, [seq for _, seq in keys], extras)
        if len(keys) < PAGE_ROWS:
            return
        start = keys[-1]


def _start_of_newest(path: Path, wanted: Filter, newest: int) -> tuple[int, int] | None:
    """The key before the `newest` last rows; None where there are not that many."""
    condition, values = wanted.clause()
    with closing(open_for_reading(path)) as connection:
        row = connection.execute(
            f"select ts_us, seq from requests where {condition}"
            " order by ts_us desc, seq desc limit 1 offset ?",
            (*values, newest),
        ).fetchone()
    return None if row is None else (row["ts_us"], row["seq"])


def _captures_folded(path: Path, wanted: Filter, extras: Extras) -> Iterator[Json]:
    """In the order they were folded; the connection lives for one page at a time."""
    while True:
        condition, values = wanted.clause()
        page = f"select seq from requests where {condition} order by seq limit {PAGE_ROWS}"
        with closing(open_for_reading(path)) as connection:
            sequences = [seq for (seq,) in connection.execute(page, values)]
            yield from _captures_of(connection, sequences, extras)
        if len(sequences) < PAGE_ROWS:
            return
        wanted = wanted._replace(after=sequences[-1])


def _captures_of(
    connection: sqlite3.Connection, sequences: Sequence[int], extras: Extras
) -> Iterator[Json]:
    """The captures of some rows of one day, in their order, one in memory at a time."""
    statement = _WITH_BODIES if extras.bodies else _WITHOUT_BODIES
    for sequence in sequences:
        row = connection.execute(statement, (sequence,)).fetchone()
        if row is not None:  # else forgotten since the page was listed
            attempts = connection.execute(_ATTEMPTS, (sequence,)).fetchall()
            found = capture_json(row, attempts, bodies=extras.bodies)
            found["feedback"] = extras.feedback.of(row["id"], bodies=extras.bodies)
            if extras.candidates:
                found["decision"] = candidates_json(connection.execute(_CANDIDATES, (sequence,)))
            yield found


# -- which files -------------------------------------------------------------------------------


def _days_since(directory: Path, since_us: int | None) -> Iterator[tuple[str, Path]]:
    """Days that may hold requests at or after `since_us` (ids and `ts` may differ by a day)."""
    first = "" if since_us is None else day_at(since_us // 1_000_000 - 86_400)
    return (
        (day, path) for day, path in day_files(directory) if day >= first and _is_readable(path)
    )


def _files_of(directory: Path, identifier: str) -> Iterator[Path]:
    """Where the request called `identifier` can be: its own day, or anywhere if it tells none."""
    if milliseconds_of(identifier) is None:
        yield from (path for _, path in _days_since(directory, None))
        return
    path = day_path(directory, day_of(identifier, 0))
    if _is_readable(path):
        yield path


def _is_readable(path: Path) -> bool:
    """One file that is no database must not hide the others."""
    try:
        return has_schema(path)
    except sqlite3.DatabaseError as error:
        _report(path, error)
        return False


def _report(path: Path, error: sqlite3.DatabaseError) -> None:
    log("store_damaged", level="error", file=str(path), error=str(error), hint="pointsman verify")


def _count(path: Path, wanted: Filter) -> int:
    condition, values = wanted.clause()
    return _number(path, f"select count(*) from requests where {condition}", values)


def _newest(path: Path) -> int:
    return _number(path, "select max(seq) from requests", ())


def _number(path: Path, sql: str, values: Sequence[object]) -> int:
    with closing(open_for_reading(path)) as connection:
        (value,) = connection.execute(sql, values).fetchone()
    return int(value or 0)


# -- spend -------------------------------------------------------------------------------------

_SPEND_SUMS: Final = {
    "requests": "count(*)",
    "cost_usd": "coalesce(sum(cost_usd), 0.0)",
    "unknown_cost": "sum(cost_usd is null)",
    "errors": "sum(status <> 'ok')",
    "prompt_tokens": "coalesce(sum(prompt_tok), 0)",
    "completion_tokens": "coalesce(sum(completion_tok), 0)",
    "reasoning_tokens": "coalesce(sum(reasoning_tok), 0)",
    "simulated": "coalesce(sum(simulated), 0)",
}


def _spend_sql(condition: str) -> str:
    sums = ", ".join(_SPEND_SUMS.values())
    day = "strftime('%Y-%m-%d', ts_us / 1000000, 'unixepoch')"
    return f"select {day}, route, backend, {sums} from requests where {condition} group by 1, 2, 3"


def _spend_row(key: tuple[str, str | None, str | None], sums: Sequence[float]) -> dict[str, Any]:
    day, route, backend = key
    row: dict[str, Any] = {"day": day} if day else {}
    row |= {"route": route, "backend": backend}
    for name, value in zip(_SPEND_SUMS, sums, strict=True):
        row[name] = float(value) if name == "cost_usd" else int(value)
    priced = row["requests"] - row["unknown_cost"]
    row["usd_per_1k"] = 1000 * row["cost_usd"] / priced if priced else None
    if not priced:
        row["cost_usd"] = None  # unknown is not zero
    row["error_rate"] = row["errors"] / row["requests"]
    return row
