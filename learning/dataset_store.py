"""What data sets there are, what is in them, and where a row comes from and goes to."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec

from telemetry.queries import capture
from telemetry.store import LEARNING_FILE, has_schema, open_for_reading

from .dataset_spec import DatasetError, DatasetName, DatasetSpec, parse_name
from .dataset_table import examples, snapshot
from .example import Example, Json

SHOWN_ROWS: Final = 3


def list_datasets(directory: Path) -> list[Json]:
    """Every version, oldest first."""
    return [
        {
            "id": row["id"],
            "rows": row["n_rows"],
            "created_us": row["created_us"],
            "content_sha256": row["content_sha256"],
            "splits": msgspec.json.decode(row["report"]).get("splits", {}),
            "is_there": snapshot(directory, DatasetName(row["name"], row["version"])).is_file(),
        }
        for row in _rows(directory, "select * from datasets order by created_us, id")
    ]


def find(directory: Path, text: str) -> DatasetName:
    """A version by its name; the newest where none is given. Raises DatasetError."""
    wanted = parse_name(text)
    rows = _rows(
        directory,
        "select version from datasets where name = ? and (version = ? or ? is null)"
        " order by version desc limit 1",
        (wanted.name, wanted.version, wanted.version),
    )
    if not rows:
        raise DatasetError(f"there is no data set {text}; see pointsman dataset list")
    return DatasetName(wanted.name, rows[0]["version"])


def spec_of(directory: Path, name: DatasetName) -> DatasetSpec:
    """What a version was made of."""
    (row,) = _rows(directory, "select spec from datasets where id = ?", (name.id,))
    return msgspec.json.decode(row["spec"], type=DatasetSpec)


def show(directory: Path, name: DatasetName) -> Json:
    """The report of a version, when it was made, and its first rows."""
    (row,) = _rows(directory, "select * from datasets where id = ?", (name.id,))
    found: Json = msgspec.json.decode(row["report"])
    found["created_us"] = row["created_us"]
    found["parent"] = row["parent_id"]
    return found


def read_examples(
    directory: Path, name: DatasetName, *, splits: frozenset[str] | None = None
) -> Iterator[Example]:
    """Rows of a version, of some splits only where they are named. Raises DatasetError."""
    path = snapshot(directory, name)
    if not path.is_file():
        raise DatasetError(f"the rows of {name.id} are gone; build it again")
    for example in examples(path):
        if splits is None or example.split in splits:
            yield example


def trace(directory: Path, text: str, row_no: int) -> Json:
    """A row back to its request, attempt, label, policy and model. Raises DatasetError."""
    name = find(directory, text)
    rows = _rows(
        directory,
        "select * from dataset_rows where dataset_id = ? and row_no = ?",
        (name.id, row_no),
    )
    if not rows:
        raise DatasetError(f"{name.id} has no row {row_no}")
    row = rows[0]
    request = capture(directory, row["request_id"], bodies=False)
    label = _rows(directory, "select * from labels where id = ?", (row["label_id"],))
    told = _rows(directory, "select * from feedback where id = ?", (row["label_id"],))
    return {
        "dataset": name.id,
        "row": row_no,
        "example_sha256": bytes(row["example_sha256"]).hex(),
        "split": row["split"],
        "group": bytes(row["group_key"]).hex(),
        "request_id": row["request_id"],
        "request": request,
        "label": _label(label[0]) if label else None,
        "feedback": _feedback(told[0]) if told else None,
        "models": _models(directory, (name.id,)),
    }


def where_used(directory: Path, request_id: str) -> Json:
    """Data sets that hold a request, models trained on them, and where those serve."""
    rows = _rows(
        directory,
        "select dataset_id, row_no, split from dataset_rows where request_id = ?"
        " order by dataset_id, row_no",
        (request_id,),
    )
    identifiers = tuple(dict.fromkeys(row["dataset_id"] for row in rows))
    models = _models(directory, identifiers)
    deployments = [
        deployment
        for model in models
        for deployment in _rows(
            directory, "select * from deployments where model_id = ?", (model["id"],)
        )
    ]
    return {
        "request_id": request_id,
        "datasets": [
            {"dataset": row["dataset_id"], "row": row["row_no"], "split": row["split"]}
            for row in rows
        ],
        "models": models,
        "deployments": [_plain(row) for row in deployments],
    }


def diff(directory: Path, first: DatasetName, second: DatasetName) -> Json:
    """What `second` has besides and lacks, and what changed sides. Raises DatasetError."""
    for name in (first, second):
        if not snapshot(directory, name).is_file():
            raise DatasetError(f"the rows of {name.id} are gone; they cannot be compared")
    path = directory / LEARNING_FILE
    sql = (
        "select count(*) from dataset_rows a where a.dataset_id = ? and not exists"
        " (select 1 from dataset_rows b where b.dataset_id = ?"
        " and b.example_sha256 = a.example_sha256)"
    )
    moved = (
        "select a.split before, b.split after, count(*) n from dataset_rows a"
        " join dataset_rows b on b.example_sha256 = a.example_sha256"
        " where a.dataset_id = ? and b.dataset_id = ? and a.split <> b.split group by 1, 2"
    )
    with closing(open_for_reading(path)) as connection:
        connection.execute("pragma temp_store = file")
        connection.execute("pragma automatic_index = on")
        only_first, only_second = (
            connection.execute(sql, pair).fetchone()[0]
            for pair in ((first.id, second.id), (second.id, first.id))
        )
        moves = connection.execute(moved, (first.id, second.id)).fetchall()
    return {
        "first": first.id,
        "second": second.id,
        "only_first": only_first,
        "only_second": only_second,
        "moved": [dict(zip(("from", "to", "rows"), tuple(row), strict=True)) for row in moves],
        "specification": _changed(spec_of(directory, first), spec_of(directory, second)),
    }


def _changed(first: DatasetSpec, second: DatasetSpec) -> dict[str, list[object]]:
    before, after = _flat(msgspec.to_builtins(first)), _flat(msgspec.to_builtins(second))
    keys = sorted(before.keys() | after.keys())
    return {k: [before.get(k), after.get(k)] for k in keys if before.get(k) != after.get(k)}


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, inner in value.items():
        if isinstance(inner, dict):
            found |= _flat(inner, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = inner
    return found


def _models(directory: Path, datasets: tuple[str, ...]) -> list[Json]:
    return [
        {key: row[key] for key in ("id", "base", "dataset_id", "method", "created_us")}
        for identifier in datasets
        for row in _rows(directory, "select * from models where dataset_id = ?", (identifier,))
    ]


def _label(row: Any) -> Json:
    shown = _plain(row)
    shown["output"] = None if row["output"] is None else bytes(row["output"]).decode()
    return shown


def _feedback(row: Any) -> Json:
    shown = _plain(row)
    told = row["demonstration"]
    shown["demonstration"] = None if told is None else bytes(told).decode("utf-8", "replace")
    return shown


def _plain(row: Any) -> Json:
    """A row with its bytes in hex."""
    return {
        key: bytes(row[key]).hex() if isinstance(row[key], bytes) else row[key]
        for key in row.keys()  # noqa: SIM118 - a row's own iteration gives values
    }


def _rows(directory: Path, sql: str, values: tuple[object, ...] = ()) -> list[Any]:
    path = directory / LEARNING_FILE
    if not has_schema(path):
        return []
    with closing(open_for_reading(path)) as connection:
        return connection.execute(sql, values).fetchall()
