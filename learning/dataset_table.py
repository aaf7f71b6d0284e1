"""The versions of data sets as they are kept: a folder each, and rows in learning.db.

datasets/NAME/V/rows.jsonl       an example a line
datasets/NAME/V/excluded.jsonl   what was left out, a request and a code a line
datasets/NAME/V/card.md          for people
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from .dataset_report import DatasetReport
from .dataset_spec import DatasetName, DatasetSpec
from .example import Example
from .ledger import Ledger, now_us

FOLDER: Final = "datasets"
ROWS_FILE: Final = "rows.jsonl"
EXCLUDED_FILE: Final = "excluded.jsonl"
CARD_FILE: Final = "card.md"
ASIDE_SUFFIX: Final = ".part"
"""Of folders that are being made; what is killed leaves them for `sweep`."""

_ROW: Final = (
    "insert or replace into dataset_rows(dataset_id, row_no, example_sha256, request_id, label_id,"
    " group_key, split, n_tokens) values (?,?,?,?,?,?,?,?)"
)

_encode = msgspec.json.Encoder().encode
_decode_example = msgspec.json.Decoder(Example).decode


class RowKey(msgspec.Struct):
    """The members of a row that the table `dataset_rows` holds."""

    id: str
    request_id: str
    group_key: str = ""
    split: str = "train"
    label_id: str | None = None
    tokens: int = 0


decode_key = msgspec.json.Decoder(RowKey).decode


def newest_version(ledger: Ledger, name: str) -> int:
    """The newest version's number; 0 where there is none."""
    row = ledger.row("select coalesce(max(version), 0) n from datasets where name = ?", (name,))
    return int(row["n"]) if row else 0


def sweep(folder: Path) -> None:
    """Remove what killed builds have left. Only under the lock: nobody else builds then."""
    for path in folder.glob(f".*{ASIDE_SUFFIX}"):
        shutil.rmtree(path, ignore_errors=True)


def examples(path: Path) -> Iterator[Example]:
    """The rows of a snapshot, one in memory at a time."""
    with path.open("rb") as file:
        for line in file:
            yield _decode_example(line)


def snapshot(directory: Path, name: DatasetName) -> Path:
    """Where the rows of a version lie."""
    return directory / FOLDER / name.name / str(name.version) / ROWS_FILE


def register(
    ledger: Ledger, name: str, version: int, spec: DatasetSpec, report: DatasetReport, rows: Path
) -> None:
    """Write its rows, then the version: from then on it counts."""
    ledger.write_in_pieces(_ROW, _table_rows(report.id, rows))
    parent = DatasetName(name, version - 1).id if version > 1 else None
    with ledger.transaction():
        ledger.execute("delete from exclusions where dataset_id = ?", (report.id,))
        for code, count in report.excluded.items():
            ledger.execute("insert into exclusions values (?,?,?)", (report.id, code, count))
        ledger.execute(
            "insert into datasets(id, name, version, spec, spec_hash, parent_id, created_us,"
            " n_rows, content_sha256, report) values (?,?,?,?,?,?,?,?,?,?)",
            (
                report.id, name, version, _encode(spec).decode(), report.spec_hash, parent,
                now_us(), report.n_rows, report.content_sha256, _encode(report).decode(),
            ),
        )  # fmt: skip


def _table_rows(identifier: str, rows: Path) -> Iterator[tuple[object, ...]]:
    with rows.open("rb") as file:
        for number, line in enumerate(file):
            row = decode_key(line)
            yield (
                identifier, number, bytes.fromhex(row.id), row.request_id, row.label_id,
                bytes.fromhex(row.group_key), row.split, row.tokens,
            )  # fmt: skip
