"""A data set in the layout of Hugging Face: `data/SPLIT-00000-of-00001.parquet` and a README.

The schema is written down, not guessed: what differs from row to row (tool calls, tools, parts of
a message) is JSON text, so a column has one type whatever a row holds.
"""

import shutil
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import msgspec

from .example import Example, Json
from .near import ExtraMissing

ROW_GROUP: Final = 2000
SPLIT_NAMES: Final = {"train": "train", "valid": "validation", "test": "test", "holdout": "holdout"}
"""Hugging Face's own word for `valid`."""

_encode = msgspec.json.Encoder().encode


def parquet_row(example: Example) -> Json:
    """The row; unknown is an empty text, so no column is ever null."""
    return {
        "id": example.id,
        "request_id": example.request_id,
        "conversation_id": example.conversation_id,
        "group_key": example.group_key,
        "messages": [_message(message) for message in example.messages],
        "target": _message(example.target),
        "rejected": _message(example.rejected),
        "tools": _text(example.tools),
        "response_format": _text(example.response_format),
        "reasoning": example.reasoning,
        "label_source": example.label_source,
        "label_model": example.label_model,
        "weight": example.weight,
        "tokens": example.tokens,
        "meta": _text(example.meta),
    }


class ParquetWriter:
    """One file a split, written row group by row group. Close it."""

    def __init__(self, directory: Path) -> None:
        self._arrow, self._parquet = _libraries()
        self._directory = directory
        self._schema = _schema(self._arrow)
        self._writers: dict[str, Any] = {}
        self._waiting: dict[str, list[Json]] = {}
        self.rows: dict[str, int] = {}
        (directory / "data").mkdir(mode=0o700)

    def add(self, example: Example) -> None:
        """The next row of its split."""
        split = SPLIT_NAMES[example.split]
        waiting = self._waiting.setdefault(split, [])
        waiting.append(parquet_row(example))
        self.rows[split] = self.rows.get(split, 0) + 1
        if len(waiting) >= ROW_GROUP:
            self._write(split)

    def close(self, card: str = "") -> None:
        """Write what waits, and the README that names the files."""
        for split in self._waiting:
            self._write(split)
        for writer in self._writers.values():
            writer.close()
        (self._directory / "README.md").write_text(_readme(self.rows, card), "utf-8")

    def abandon(self) -> None:
        """Close the files unfinished and remove them."""
        for writer in self._writers.values():
            writer.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _write(self, split: str) -> None:
        rows = self._waiting[split]
        if rows:
            if split not in self._writers:
                path = self._directory / "data" / f"{split}-00000-of-00001.parquet"
                self._writers[split] = self._parquet.ParquetWriter(
                    path, self._schema, compression="zstd"
                )
            table = self._arrow.Table.from_pylist(rows, schema=self._schema)
            self._writers[split].write_table(table)
            self._waiting[split] = []


def write_lineage(path: Path, rows: Iterator[Mapping[str, object]]) -> None:
    """Which row of a file is which example, where the format forbids to say so itself."""
    arrow, parquet = _libraries()
    text = ("id", "request_id", "label_id", "group_key", "split")
    schema = arrow.schema([("row", arrow.int64()), *((name, arrow.string()) for name in text)])
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        piece: list[Mapping[str, object]] = []
        for row in rows:
            piece.append(row)
            if len(piece) >= ROW_GROUP:
                writer.write_table(arrow.Table.from_pylist(piece, schema=schema))
                piece = []
        writer.write_table(arrow.Table.from_pylist(piece, schema=schema))


def _libraries() -> tuple[Any, Any]:
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ModuleNotFoundError:
        raise ExtraMissing("pyarrow is missing; pip install 'pointsman[data]'") from None


def _schema(arrow: Any) -> Any:
    text = arrow.string()
    message = arrow.struct(
        [("role", text), ("content", text), ("name", text), ("tool_call_id", text),
         ("tool_calls", text)]
    )  # fmt: skip
    columns = dict.fromkeys(parquet_row(Example("", "", [], {})), text)
    columns |= {
        "messages": arrow.list_(message), "target": message, "rejected": message,
        "weight": arrow.float64(), "tokens": arrow.int64(),
    }  # fmt: skip
    return arrow.schema(list(columns.items()))


def _message(message: Json) -> Json:
    content = message.get("content", "")
    return {
        "role": str(message.get("role", "")),
        "content": content if isinstance(content, str) else _encode(content).decode(),
        "name": str(message.get("name", "")),
        "tool_call_id": str(message.get("tool_call_id", "")),
        "tool_calls": _text(message.get("tool_calls")),
    }


def _text(value: object) -> str:
    return _encode(value).decode() if value else ""


def _readme(rows: Mapping[str, int], card: str) -> str:
    files = "".join(
        f"      - split: {split}\n        path: data/{split}-*.parquet\n" for split in rows
    )
    head = f"---\nconfigs:\n  - config_name: default\n    data_files:\n{files}---\n\n"
    return head + card
