"""Building a data set: a version that never changes, made of captures and labels.

    scan -> candidates in a file aside -> decide (duplicates, groups, split) -> rows.jsonl, card.md
    -> the folder renamed into place -> rows, then the version itself, in learning.db

A version counts from the moment its row in `datasets` is there; before, nothing looks like one.
The same specification over the same captures and labels gives the same `content_sha256`, and the
same bytes of rows.jsonl, on any machine.
"""

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from telemetry.sync import sync_directory

from .answer_match import answer_text, canonical
from .dataset_card import card
from .dataset_scan import Scan
from .dataset_spec import DatasetError, DatasetName, DatasetSpec
from .dataset_split import CODES, KEPT, SPLITS, Decided, Earlier, Wanted, decide
from .example import Example
from .ledger import Ledger, now_us
from .near import Signatures, require_extra
from .token_count import TokenCounter

Progress = Callable[[str, int, int], None]

FOLDER: Final = "datasets"
ROWS_FILE: Final = "rows.jsonl"
CARD_FILE: Final = "card.md"
CLASSES_MAX: Final = 20
CLASSES_COUNTED: Final = 10_000
CLASS_CHARACTERS: Final = 40

_ROW: Final = (
    "insert or replace into dataset_rows(dataset_id, row_no, example_sha256, request_id, label_id,"
    " group_key, split, n_tokens) values (?,?,?,?,?,?,?,?)"
)

_encode = msgspec.json.Encoder().encode
_decode_example = msgspec.json.Decoder(Example).decode


class DatasetReport(msgspec.Struct):
    """What a version holds and what was left out."""

    id: str
    n_rows: int = 0
    content_sha256: str = ""
    spec_hash: str = ""
    captures: int = 0
    splits: dict[str, int] = {}
    label_sources: dict[str, int] = {}
    excluded: dict[str, int] = {}
    masked: dict[str, int] = {}
    groups: int = 0
    naive_leaks: float = 0.0
    """Share of the test rows that would lie beside a train row after a split by row."""
    overlap: int = 0
    """Groups on two sides of the split; always 0, counted all the same."""
    tokens: dict[str, int] = {}
    are_tokens_estimated: bool = True
    tokens_pruned: int = 0
    rows_unpruned: int = 0
    prefixes: dict[str, dict[str, object]] = {}
    classes: dict[str, int] = {}
    """The most frequent answers, where there are few."""
    is_new: bool = True
    """False: the newest version is the same, and none was made."""


def build(
    directory: Path,
    name: str,
    spec: DatasetSpec,
    *,
    tokenizer: Path | None = None,
    progress: Progress = lambda doing, done, total: None,
) -> DatasetReport:
    """Make the next version of `name`. Raises DatasetError, BadSelection, ExtraMissing, OSError."""
    require_extra()
    counter = TokenCounter(tokenizer)
    spec = msgspec.structs.replace(spec, tokenizer_sha256=counter.sha256)
    with Ledger(directory) as ledger:
        version = 1 + newest_version(ledger, name)
        identifier = DatasetName(name, version).id
        place = directory / FOLDER / name / str(version)
        aside = place.with_name(f".{version}.{os.getpid()}.part")
        aside.mkdir(mode=0o700, parents=True)
        try:
            builder = _Builder(directory, identifier, spec, counter, progress)
            report = builder.run(aside, _earlier(ledger, name))
            if not report.n_rows:
                raise DatasetError(f"no rows for {name}; left out: {_words(report.excluded)}")
            same = _same_version(ledger, name, report)
            if same is not None:
                report.id, report.is_new = same, False
                return report
            ledger.run("delete from dataset_rows where dataset_id = ?", (identifier,))
            shutil.rmtree(place, ignore_errors=True)  # of a build that was killed
            aside.rename(place)
            sync_directory(place.parent)
            register(ledger, name, version, spec, report, place / ROWS_FILE)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return report


def newest_version(ledger: Ledger, name: str) -> int:
    """The newest version's number; 0 where there is none."""
    row = ledger.row("select coalesce(max(version), 0) n from datasets where name = ?", (name,))
    return int(row["n"]) if row else 0


class _Builder:
    """One build under way."""

    def __init__(
        self,
        directory: Path,
        identifier: str,
        spec: DatasetSpec,
        counter: TokenCounter,
        progress: Progress,
    ) -> None:
        self._spec = spec
        self._counter = counter
        self._progress = progress
        self._scan = Scan(directory, spec, counter)
        self.report = DatasetReport(identifier, spec_hash=spec.hash)

    def run(self, aside: Path, earlier: Earlier) -> DatasetReport:
        """Write rows and card into `aside`."""
        candidates = aside / "candidates.jsonl"
        with Signatures(aside / "signatures") as signatures:
            with candidates.open("wb") as file:
                self._scan.run(file, signatures, lambda d, t: self._progress("reading", d, t))
            decided = self._decide(signatures, earlier)
        with candidates.open("rb") as source, (aside / ROWS_FILE).open("wb") as output:
            self._write(source, output, decided)
            output.flush()
            os.fsync(output.fileno())
        candidates.unlink()
        self._tell_scan()
        (aside / CARD_FILE).write_text(card(self.report, self._spec), "utf-8")
        return self.report

    def _decide(self, signatures: Signatures, earlier: Earlier) -> Decided:
        spec = self._spec
        wanted = Wanted(
            spec.split, spec.duplicate_similarity, spec.group_similarity, spec.rules.allow
        )
        count = len(self._scan.columns)
        return decide(
            self._scan.columns,
            signatures.matrix(),
            wanted,
            earlier,
            progress=lambda doing: self._progress(doing, 0, count),
        )

    def _write(self, source: BinaryIO, output: BinaryIO, decided: Decided) -> None:
        """The rows that stay, in the captures' order, and what they tell of the whole."""
        numpy, _ = require_extra()
        total = len(decided.code)
        digests = numpy.zeros(int((decided.code == KEPT).sum()), dtype="S64")
        tokens = numpy.zeros(len(digests), dtype="i8")
        kept = _Kept()
        place = 0
        for index, line in enumerate(source):
            if index % 5000 == 0:
                self._progress("writing", index, total)
            code = int(decided.code[index])
            if code != KEPT:
                kept.excluded[CODES[code]] += 1
                continue
            example = _decode_example(line)
            example.split = SPLITS[int(decided.split[index])]
            example.group_key = f"{int(decided.group[index]):016x}"
            if decided.count[index] > 1:
                example.meta = {**example.meta, "count": int(decided.count[index])}
            output.write(_encode(example) + b"\n")
            digests[place] = example.id.encode()
            tokens[place] = example.tokens
            kept.add(example)
            place += 1
        self._tell(numpy, digests, tokens, kept, decided)

    def _tell(self, numpy: Any, digests: Any, tokens: Any, kept: "_Kept", decided: Decided) -> None:
        report = self.report
        report.n_rows = len(digests)
        digests.sort()
        report.content_sha256 = hashlib.sha256(b"\n".join(digests.tolist())).hexdigest()
        report.splits = {split: kept.splits[split] for split in SPLITS if kept.splits[split]}
        report.label_sources = dict(sorted(kept.sources.items()))
        report.excluded.update(kept.excluded)
        report.naive_leaks = round(decided.naive_leaks, 6)
        stays = decided.code == KEPT
        sides = numpy.unique(
            numpy.stack((decided.group[stays], decided.split[stays].astype("u8"))), axis=1
        )
        report.groups = len(numpy.unique(sides[0]))
        report.overlap = sides.shape[1] - report.groups
        if len(tokens):
            spots = {"p50": 50, "p90": 90, "p99": 99, "max": 100}
            report.tokens = {
                name: int(numpy.percentile(tokens, at, method="higher"))
                for name, at in spots.items()
            } | {"sum": int(tokens.sum())}
        if len(kept.classes) <= CLASSES_COUNTED:
            report.classes = dict(kept.classes.most_common(CLASSES_MAX))

    def _tell_scan(self) -> None:
        report, scan = self.report, self._scan
        report.captures = scan.captures
        counts = Counter(report.excluded) + scan.excluded
        report.excluded = {code: counts[code] for code in sorted(counts)}
        report.masked = dict(sorted(scan.masked.items()))
        report.are_tokens_estimated = self._counter.sha256 is None
        report.tokens_pruned = scan.tokens_pruned
        report.rows_unpruned = scan.rows_unpruned
        report.prefixes = {
            route: {"id": rule.id, "messages": len(rule.messages), "characters": len(rule.text)}
            for route, rule in sorted(scan.prefixes.items())
        }


class _Kept:
    """Counts over the rows that stay."""

    def __init__(self) -> None:
        self.splits: Counter[str] = Counter()
        self.sources: Counter[str] = Counter()
        self.excluded: Counter[str] = Counter()
        self.classes: Counter[str] = Counter()

    def add(self, example: Example) -> None:
        self.splits[example.split] += 1
        self.sources[example.label_source] += 1
        if len(self.classes) <= CLASSES_COUNTED:
            said = canonical(answer_text(example.target))
            self.classes[said[:CLASS_CHARACTERS]] += 1


def examples(path: Path) -> Iterator[Example]:
    """The rows of a snapshot, one in memory at a time."""
    with path.open("rb") as file:
        for line in file:
            yield _decode_example(line)


def snapshot(directory: Path, name: DatasetName) -> Path:
    """Where the rows of a version lie."""
    return directory / FOLDER / name.name / str(name.version) / ROWS_FILE


def _earlier(ledger: Ledger, name: str) -> Earlier:
    """What earlier versions tested and trained on, as columns of numbers."""
    numpy, _ = require_extra()
    found = []
    for splits in (("test", "holdout"), ("train", "valid")):
        rows = ledger.each(
            "select substr(r.example_sha256, 1, 8) from dataset_rows r join datasets d"
            " on d.id = r.dataset_id where d.name = ? and r.split in (?, ?)",
            (name, *splits),
        )
        numbers = (int.from_bytes(row[0], "big") for row in rows)
        found.append(numpy.unique(numpy.fromiter(numbers, dtype="u8")))
    return Earlier(*found)


def _same_version(ledger: Ledger, name: str, report: DatasetReport) -> str | None:
    """The newest version where it was made of the same and holds the same."""
    row = ledger.row(
        "select id, spec_hash, content_sha256 from datasets where name = ?"
        " order by version desc limit 1",
        (name,),
    )
    if row is None or row["spec_hash"] != report.spec_hash:
        return None
    return str(row["id"]) if row["content_sha256"] == report.content_sha256 else None


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
    for number, example in enumerate(examples(rows)):
        yield (
            identifier, number, bytes.fromhex(example.id), example.request_id,
            example.label_id or None, bytes.fromhex(example.group_key), example.split,
            example.tokens,
        )  # fmt: skip


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{code} {count}" for code, count in counts.items() if count) or "nothing"
