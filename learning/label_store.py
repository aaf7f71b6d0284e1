"""Which answer is taken as right: labels of people, apps and teachers, and which of them counts.

Precedence: a person's newest word (source `human`), then an answer an app sent with its feedback
(`demonstration`), then what most samples of one teacher say; a reference that is shown requests
(`shadow`) is a teacher. What a newcomer said (`canary`) is no label of what is right. A label is
about a question, so it counts for every capture with the same `input_hash`. One that another
`supersedes` is void.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from telemetry.store import LEARNING_FILE, has_schema, open_for_reading

from .answer_match import answer_text, canonical

Json = dict[str, object]
LabelSource = Literal["human", "feedback", "teacher", "shadow"]

PRECEDENCE: Final[tuple[LabelSource, ...]] = ("human", "feedback", "teacher", "shadow")
TEACHERS: Final = ("teacher", "shadow")
NEGATIVE: Final = ("thumb", "rating", "correct", "ok", "accepted", "thumbs")
"""Names of feedback whose number, where 0 or below, says that the answer was wrong."""


class Verdict(msgspec.Struct, frozen=True):
    """The answer taken as right. `agreement`: the share of the samples that say so."""

    message: Json
    source: LabelSource
    agreement: float = 1.0
    samples: int = 1
    label_id: str | None = None
    model: str | None = None
    probability: float | None = None
    """With which the request was drawn to be labelled; None: not by chance."""

    @property
    def text(self) -> str:
        """What is compared."""
        return answer_text(self.message)


class Labels:
    """The labels of a store, read page by page; close it."""

    def __init__(self, directory: Path) -> None:
        path = directory / LEARNING_FILE
        self._connection = open_for_reading(path) if has_schema(path) else None
        self.is_empty = not self._has_any()

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()

    def verdicts(self, keys: Sequence[tuple[str, bytes | None]]) -> dict[str, Verdict]:
        """By request id, for the (request id, input hash) of a page."""
        if self.is_empty or self._connection is None or not keys:
            return {}
        hashes = list({digest for _, digest in keys if digest is not None})
        by_hash: dict[bytes, list[Any]] = {}
        for row in self._page("labels", "input_hash", hashes):
            by_hash.setdefault(bytes(row["input_hash"]), []).append(row)
        told = {
            row["request_id"]: row
            for row in self._page("feedback", "request_id", [identifier for identifier, _ in keys])
            if row["demonstration"] is not None
        }
        found = {}
        for identifier, digest in keys:
            labels = by_hash.get(digest, []) if digest is not None else []
            verdict = choose(labels, told.get(identifier))
            if verdict is not None:
                found[identifier] = verdict
        return found

    def disliked(self, identifiers: Sequence[str]) -> set[str]:
        """Requests whose feedback says that the answer was wrong."""
        if self.is_empty:
            return set()
        return {
            row["request_id"]
            for row in self._page("feedback", "request_id", identifiers)
            if row["name"] in NEGATIVE and row["num"] is not None and row["num"] <= 0
        }

    def tombstoned(self) -> set[str]:
        """Requests that are to be forgotten."""
        if self._connection is None:
            return set()
        rows = self._connection.execute("select subject from tombstones where kind = 'id'")
        return {row[0] for row in rows}

    def _page(self, table: str, column: str, values: Sequence[object]) -> list[Any]:
        if self._connection is None or not values:
            return []
        marks = ",".join("?" * len(values))
        sql = f"select * from {table} where {column} in ({marks}) order by ts_us, id"
        return self._connection.execute(sql, values).fetchall()

    def _has_any(self) -> bool:
        if self._connection is None:
            return False
        sql = "select exists(select 1 from labels) or exists(select 1 from feedback)"
        return bool(self._connection.execute(sql).fetchone()[0])


def choose(labels: Sequence[Any], feedback: Any | None = None) -> Verdict | None:
    """The one that counts; `labels` are rows of one question, oldest first. None: there is none."""
    void = {row["supersedes"] for row in labels if row["supersedes"]}
    valid = [row for row in labels if row["id"] not in void and row["output"] is not None]
    people = [row for row in valid if row["source"] == "human"]
    if people:
        newest = people[-1]
        return Verdict(read_message(newest["output"]), "human", label_id=newest["id"])
    if feedback is not None:
        message = read_message(feedback["demonstration"])
        return Verdict(message, "feedback", label_id=feedback["id"])
    by_source = ([row for row in valid if row["source"] == source] for source in TEACHERS)
    teachers = next(filter(None, by_source), None)
    if teachers is None:
        return None
    last = (teachers[-1]["model"], teachers[-1]["prompt_hash"])
    return majority([row for row in teachers if (row["model"], row["prompt_hash"]) == last])


def majority(samples: Sequence[Any]) -> Verdict:
    """What most of one teacher's samples say; of several as frequent the first said."""
    messages = [read_message(row["output"]) for row in samples]
    spoken = [canonical(answer_text(message)) for message in messages]
    winner, count = Counter(spoken).most_common(1)[0]
    index = spoken.index(winner)
    chosen = samples[index]
    agreement = count / len(samples)
    if chosen["score"] is not None:
        agreement = min(agreement, chosen["score"])
    return Verdict(
        messages[index],
        chosen["source"],
        agreement,
        len(samples),
        chosen["id"],
        chosen["model"],
        chosen["probability"],
    )


def read_message(data: bytes | None) -> Json:
    """A label's output: an assistant message as JSON, any other JSON or text as its content."""
    raw = bytes(data or b"")
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {"role": "assistant", "content": raw.decode("utf-8", "replace")}
    if isinstance(value, dict) and value.get("role") == "assistant":
        return value
    if isinstance(value, str):
        return {"role": "assistant", "content": value}
    return {"role": "assistant", "content": raw.decode("utf-8", "replace")}


def count_labelled(directory: Path, keys: Iterable[tuple[str, bytes | None]]) -> int:
    """How many of these captures have an answer that is taken as right."""
    with closing(Labels(directory)) as labels:
        if labels.is_empty:
            return 0
        total = 0
        page: list[tuple[str, bytes | None]] = []
        for key in keys:
            page.append(key)
            if len(page) == 500:
                total += len(labels.verdicts(page))
                page = []
        return total + len(labels.verdicts(page))
