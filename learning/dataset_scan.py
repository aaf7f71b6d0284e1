"""Captures into candidate examples: one pass over a range of them, one example in memory at a time.

    captures -> verdicts of a page -> example or a code -> masked -> pruned -> a line of a file,
    a row of columns, a signature

What is decided about all of them together (dataset_split) needs only columns and signatures. A
range is read the same way wherever it is read, so dataset_shards may give it to any process.
"""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from telemetry.redaction import RedactionRefused, Redactor, may_hold

from .answer_match import answer_text, canonical
from .captured import Captured, Place, captured_of_day, report_damage
from .chat_row import Excluded
from .constant_prefix import NOTHING, PrefixRule
from .dataset_report import EXAMPLES_MAX
from .dataset_spec import DatasetSpec
from .dataset_split import Columns
from .example import DAMAGED, Example, Json, Written, example_of
from .images import FOLDER as IMAGES_FOLDER
from .images import IMAGE_REMOTE, has_remote, with_images
from .label_store import PRECEDENCE, Labels
from .near import Signatures
from .token_count import TokenCounter, texts_of

PAGE: Final = 500
RANKS: Final = {source: rank for rank, source in enumerate(("traffic", *reversed(PRECEDENCE)))}
"""How much a label's source counts among rows that ask the same."""

_encode = msgspec.json.Encoder().encode


class ScanJob(msgspec.Struct, frozen=True):
    """What every range of a build is read by."""

    directory: str
    folder: str
    """Where the files of each range go."""
    spec: DatasetSpec
    tokenizer: str | None = None
    prefixes: dict[str, PrefixRule] = {}
    policies: dict[str, str] = {}
    """The newest policy that each route was served by."""


class Shard(msgspec.Struct, frozen=True):
    """A range of one day's captures, behind one place and up to another."""

    number: int
    path: str
    after: Place
    last: Place
    rows: int


class ShardReport(msgspec.Struct):
    """What one range held."""

    number: int
    examples: int = 0
    captures: int = 0
    excluded: dict[str, int] = {}
    named: dict[str, list[str]] = {}
    """Of what is left out, the first requests of each code."""
    masked: dict[str, int] = {}
    tokens_pruned: int = 0
    rows_unpruned: int = 0
    """Rows that begin otherwise than the rule of their route."""


class ShardFiles:
    """The files of a range: examples, columns, signatures, and what was left out."""

    def __init__(self, folder: Path, number: int) -> None:
        self.rows = folder / f"{number}.rows"
        self.columns = folder / f"{number}.columns"
        self.signatures = folder / f"{number}.signatures"
        self.excluded = folder / f"{number}.excluded"


def scan(
    job: ScanJob, shard: Shard, counter: TokenCounter, progress: Callable[[int], None]
) -> ShardReport:
    """Read one range into its files; `progress(captures read)`. Raises OSError."""
    files = ShardFiles(Path(job.folder), shard.number)
    signatures = Signatures(files.signatures)
    with files.rows.open("wb") as rows, files.excluded.open("wb") as excluded:
        reading = _Reading(job, shard, counter, excluded)
        for example, written in reading.examples(progress):
            rows.write(_encode(example) + b"\n")
            signatures.add(reading.distinct_text(example))
            reading.add(example, written)
    signatures.close()
    with files.columns.open("wb") as file:
        reading.columns.write(file)
    return reading.finished()


class _Reading:
    """One range being read."""

    def __init__(
        self, job: ScanJob, shard: Shard, counter: TokenCounter, excluded: BinaryIO
    ) -> None:
        self._job = job
        self._spec = job.spec
        self._shard = shard
        self._counter = counter
        self._excluded = excluded
        self._counts: Counter[str] = Counter()
        self._masked: Counter[str] = Counter()
        self._row: Captured | None = None
        self.columns = Columns()
        self.report = ShardReport(shard.number)

    def examples(self, progress: Callable[[int], None]) -> Iterator[tuple[Example, Written]]:
        """Those that may become rows."""
        directory = Path(self._job.directory)
        with closing(Labels(directory)) as labels:
            tombstoned = labels.tombstoned()
            rows = self._captures()
            while page := list(islice(rows, PAGE)):
                yield from self._of_page(page, labels, tombstoned)
                progress(self.report.captures)

    def _captures(self) -> Iterator[Captured]:
        """The range's captures; where the file is damaged, the rest of it is counted."""
        shard = self._shard
        path = Path(shard.path)
        read = 0
        try:
            for row in captured_of_day(path, self._spec.selection, shard.after, shard.last):
                read += 1
                yield row
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            report_damage(path, error)
            self._counts[DAMAGED] += max(1, shard.rows - read)

    def _of_page(
        self, page: list[Captured], labels: Labels, tombstoned: set[str]
    ) -> Iterator[tuple[Example, Written]]:
        verdicts = labels.verdicts([(row.id, row.input_hash) for row in page])
        disliked = labels.disliked([row.id for row in page])
        policies = self._job.policies
        for row in page:
            self.report.captures += 1
            try:
                if row.id in tombstoned:
                    raise Excluded("tombstoned")
                example, unused = example_of(
                    row,
                    self._spec.rules,
                    verdicts.get(row.id),
                    is_disliked=row.id in disliked,
                    is_stale=row.policy is not None
                    and row.policy != policies.get(row.route or "", row.policy),
                )
                written = self._finish(example)
            except Excluded as excluded:
                self._leave_out(row.id, excluded.code)
                continue
            if unused:
                self._counts["choice_unused"] += unused
            self._row = row
            yield example, written

    def _leave_out(self, identifier: str, code: str) -> None:
        self._counts[code] += 1
        named = self.report.named.setdefault(code, [])
        if len(named) < EXAMPLES_MAX:
            named.append(identifier)
        self._excluded.write(_encode({"request_id": identifier, "code": code}) + b"\n")

    def _finish(self, example: Example) -> Written:
        """Mask, prune, count, name. Raises Excluded."""
        if has_remote(example.messages):
            self._fetch_images(example)
        if self._spec.redact:
            self._redact(example)
        if self._spec.prune_prefix:
            self._prune(example)
        example.tokens = self._counter.example(example.messages, example.target)
        if self._spec.tokens_max is not None and example.tokens > self._spec.tokens_max:
            raise Excluded("over_length")
        written = Written(example)
        example.id = written.id
        return written

    def _fetch_images(self, example: Example) -> None:
        if not self._spec.fetch_images:
            raise Excluded(IMAGE_REMOTE)
        example.messages = with_images(example.messages, Path(self._job.directory) / IMAGES_FOLDER)

    def _redact(self, example: Example) -> None:
        told = (example.messages, example.target, example.rejected, example.reasoning)
        if not may_hold(_encode(told)):
            return
        redactor = Redactor()
        try:
            for name in ("messages", "target", "rejected", "reasoning"):
                setattr(example, name, redactor.value(getattr(example, name)))
        except RedactionRefused:
            raise Excluded("pii_blocked") from None
        self._masked.update(redactor.found)

    def _prune(self, example: Example) -> None:
        rule = self._rule(example)
        if rule.is_empty:
            return
        rest = rule.strip(example.messages)
        if rest is None or not "".join(t for m in rest for t in texts_of(m)).strip():
            self.report.rows_unpruned += 1
            return
        before = self._counter.example(example.messages, {})
        example.messages = rest
        example.meta = {**example.meta, "prefix": rule.id}
        self.report.tokens_pruned += before - self._counter.example(rest, {})

    def _rule(self, example: Example) -> PrefixRule:
        return self._job.prefixes.get(str(example.meta.get("route")), NOTHING)

    def distinct_text(self, example: Example) -> str:
        """What near-duplicates are told by: the texts behind the route's constant beginning."""
        rest = self._rule(example).strip(example.messages) or example.messages
        return "\n".join(text for message in rest for text in texts_of(message))

    def add(self, example: Example, written: Written) -> None:
        """A row of columns."""
        assert self._row is not None
        columns = self.columns
        columns.digest += bytes.fromhex(written.id)
        columns.identity.append(int(written.id[:16], 16))
        columns.input.append(_number(written.asked))
        columns.target.append(
            _number(canonical(answer_text(example.target)).encode("utf-8", "surrogatepass"))
        )
        conversation = self._row.conversation
        columns.conversation.append(_number(conversation.encode()) or 1 if conversation else 0)
        turns = list(_turns(example.messages, written))
        columns.turn.append(turns[-1])
        columns.earlier.extend(turns[:-1])
        columns.ts_us.append(self._row.ts_us)
        columns.rank.append(RANKS[example.label_source])
        columns.tokens.append(example.tokens)

    def finished(self) -> ShardReport:
        """The counts."""
        report = self.report
        report.examples = len(self.columns)
        report.excluded, report.masked = dict(self._counts), dict(self._masked)
        return report


def _number(data: bytes) -> int:
    """64 bits that stand for some bytes."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def _turns(messages: list[Json], written: Written) -> Iterator[int]:
    """A number for the chat up to each of the assistant's turns."""
    digest = hashlib.blake2b(digest_size=8)
    for message, encoded in zip(messages, written.messages, strict=True):
        digest.update(encoded)
        if message.get("role") == "assistant":
            yield int.from_bytes(digest.digest(), "big")
    digest.update(written.target)
    yield int.from_bytes(digest.digest(), "big")
