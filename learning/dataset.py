"""Building a data set: a version that never changes, made of captures and labels.

    plan -> ranges read by all cores into files aside -> decide (duplicates, groups, split)
    -> rows.jsonl, excluded.jsonl, card.md -> the folder renamed into place
    -> rows, then the version itself, in learning.db

A version counts from the moment its row in `datasets` is there; before, nothing looks like one, and
what a killed build has left is removed by the next. The same specification over the same captures
and labels gives the same `content_sha256`, and the same bytes of rows.jsonl, on any machine.
"""

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from telemetry.lock import DirectoryLock
from telemetry.sync import sync_directory

from .answer_match import answer_text, canonical
from .dataset_card import card
from .dataset_plan import Plan, prefixes_of
from .dataset_report import EXAMPLES_MAX, DatasetReport
from .dataset_scan import RANKS, ScanJob, ShardFiles, ShardReport
from .dataset_shards import scan_all
from .dataset_spec import DatasetError, DatasetName, DatasetSpec
from .dataset_split import CODES, KEPT, SPLITS, Columns, Decided, Earlier, Wanted, decide
from .dataset_table import (
    ASIDE_SUFFIX,
    CARD_FILE,
    EXCLUDED_FILE,
    FOLDER,
    ROWS_FILE,
    decode_key,
    newest_version,
    register,
    sweep,
)
from .example import DAMAGED, Example
from .ledger import Ledger
from .near import Signatures, require_extra
from .token_count import TokenCounter

Progress = Callable[[str, int, int], None]

CLASSES_MAX: Final = 20
CLASSES_COUNTED: Final = 10_000
CLASS_CHARACTERS: Final = 40
DIGEST_BYTES: Final = 32
HASHED_AT_ONCE: Final = 50_000
PROGRESS_ROWS: Final = 5000

_SOURCES: Final = {rank: source for source, rank in RANKS.items()}

_encode = msgspec.json.Encoder().encode
_decode_example = msgspec.json.Decoder(Example).decode


def build(
    directory: Path,
    name: str,
    spec: DatasetSpec,
    *,
    tokenizer: Path | None = None,
    progress: Progress = lambda doing, done, total: None,
) -> DatasetReport:
    """Make the next version of `name`. Raises DatasetError, BadSelection, ExtraMissing, OSError,
    Locked where another build runs."""
    require_extra()
    counter = TokenCounter(tokenizer)
    spec = msgspec.structs.replace(spec, tokenizer_sha256=counter.sha256)
    with Ledger(directory) as ledger, DirectoryLock(directory / FOLDER, "build"):
        version = 1 + newest_version(ledger, name)
        identifier = DatasetName(name, version).id
        place = directory / FOLDER / name / str(version)
        sweep(place.parent)
        aside = place.with_name(f".{version}{ASIDE_SUFFIX}")
        aside.mkdir(mode=0o700, parents=True)
        try:
            builder = _Builder(directory, identifier, spec, counter, progress)
            report = builder.run(aside, tokenizer, _earlier(ledger, name))
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
        self._directory = directory
        self._spec = spec
        self._counter = counter
        self._progress = progress
        self._columns = Columns()
        self._excluded: Counter[str] = Counter()
        self._masked: Counter[str] = Counter()
        self.report = DatasetReport(identifier, spec_hash=spec.hash)

    def run(self, aside: Path, tokenizer: Path | None, earlier: Earlier) -> DatasetReport:
        """Write rows, what is left out, and card into `aside`."""
        self._progress("looking", 0, 0)
        plan = Plan(self._directory, self._spec.selection)
        sample = plan.look()
        prefixes = prefixes_of(self._directory, sample, self._spec)
        job = ScanJob(
            str(self._directory.absolute()), str(aside.absolute()), self._spec,
            None if tokenizer is None else str(tokenizer.absolute()), prefixes, plan.policies,
        )  # fmt: skip
        with (
            Signatures(aside / "signatures") as signatures,
            (aside / EXCLUDED_FILE).open("wb") as excluded,
        ):
            shards = self._read(job, plan, signatures, excluded)
            decided = self._decide(signatures, earlier)
            with (aside / ROWS_FILE).open("wb") as output:
                self._write(_lines(aside, shards), output, excluded, decided)
                output.flush()
                os.fsync(output.fileno())
        self._tell(decided, job)
        (aside / CARD_FILE).write_text(card(self.report, self._spec), "utf-8")
        return self.report

    def _read(
        self, job: ScanJob, plan: Plan, signatures: Signatures, excluded: BinaryIO
    ) -> list[int]:
        """Every range, its columns, signatures and losses taken over; the ranges' numbers."""
        if plan.damaged:
            self._excluded[DAMAGED] += plan.damaged
            self.report.named[DAMAGED] = plan.damaged_files[:EXAMPLES_MAX]
        self._progress("reading", 0, plan.rows)
        read = []
        for report in scan_all(
            job, plan.shards, self._counter, lambda done: self._progress("reading", done, plan.rows)
        ):
            files = ShardFiles(Path(job.folder), report.number)
            with files.columns.open("rb") as columns:
                self._columns.add_file(columns)
            signatures.add_file(files.signatures, report.examples)
            with files.excluded.open("rb") as left_out:
                shutil.copyfileobj(left_out, excluded)
            for path in (files.columns, files.signatures, files.excluded):
                path.unlink()
            self._add(report)
            read.append(report.number)
        return read

    def _add(self, found: ShardReport) -> None:
        self._excluded.update(found.excluded)
        self._masked.update(found.masked)
        report = self.report
        report.captures += found.captures
        report.tokens_pruned += found.tokens_pruned
        report.rows_unpruned += found.rows_unpruned
        for code, identifiers in found.named.items():
            report.named.setdefault(code, []).extend(identifiers)
            del report.named[code][EXAMPLES_MAX:]

    def _decide(self, signatures: Signatures, earlier: Earlier) -> Decided:
        spec = self._spec
        wanted = Wanted(
            spec.split, spec.duplicate_similarity, spec.group_similarity, spec.rules.allow
        )
        count = len(self._columns)
        return decide(
            self._columns,
            signatures.matrix(),
            wanted,
            earlier,
            progress=lambda doing: self._progress(doing, 0, count),
        )

    def _write(
        self, lines: Iterator[bytes], output: BinaryIO, excluded: BinaryIO, decided: Decided
    ) -> None:
        """The rows that stay, in the captures' order, with what was decided about them."""
        total = len(decided.code)
        shown = self._shown_classes(decided)
        arrays = (decided.code, decided.split, decided.group, decided.count > 1)
        columns: list[Any] = [memoryview(column) for column in arrays]
        for index, (line, code, split, group, is_several) in enumerate(
            zip(lines, *columns, strict=True)
        ):
            if index % PROGRESS_ROWS == 0:
                self._progress("writing", index, total)
            if code != KEPT:
                self._leave_out(line, CODES[code], excluded)
                continue
            if is_several or index in shown:
                example = _decode_example(line)
                if is_several:
                    example.meta = {**example.meta, "count": int(decided.count[index])}
                    line = _encode(example) + b"\n"
                self._show_class(example, shown.get(index, 0))
            output.write(_with_decision(line, group, SPLITS[split]))

    def _leave_out(self, line: bytes, code: str, excluded: BinaryIO) -> None:
        identifier = decode_key(line).request_id
        self._excluded[code] += 1
        named = self.report.named.setdefault(code, [])
        if len(named) < EXAMPLES_MAX:
            named.append(identifier)
        excluded.write(_encode({"request_id": identifier, "code": code}) + b"\n")

    def _shown_classes(self, decided: Decided) -> dict[int, int]:
        """A place of each of the most frequent answers, and how many say it; none of many."""
        numpy, _ = require_extra()
        stays = numpy.nonzero(decided.code == KEPT)[0]
        targets = numpy.frombuffer(self._columns.target, "u8")[stays] if len(stays) else stays
        _, first, counts = numpy.unique(targets, return_index=True, return_counts=True)
        if len(counts) > CLASSES_COUNTED:
            return {}
        most = numpy.lexsort((first, -counts))[:CLASSES_MAX]
        return {int(stays[first[n]]): int(counts[n]) for n in most}

    def _show_class(self, example: Example, count: int) -> None:
        if count:
            said = canonical(answer_text(example.target))[:CLASS_CHARACTERS]
            self.report.classes[said] = self.report.classes.get(said, 0) + count

    def _tell(self, decided: Decided, job: ScanJob) -> None:
        numpy, _ = require_extra()
        report, stays = self.report, decided.code == KEPT
        report.n_rows = int(stays.sum())
        report.content_sha256 = _content_sha256(numpy, self._columns, stays)
        sides = numpy.bincount(decided.split[stays], minlength=len(SPLITS))
        report.splits = {name: int(n) for name, n in zip(SPLITS, sides, strict=True) if n}
        report.label_sources = self._sources(numpy, stays)
        report.excluded = {code: count for code, count in sorted(self._excluded.items()) if count}
        report.classes = dict(sorted(report.classes.items(), key=lambda item: -item[1]))
        report.masked = dict(sorted(self._masked.items()))
        report.naive_leaks = round(decided.naive_leaks, 6)
        report.groups, report.overlap = _groups(numpy, decided, stays)
        report.tokens = self._token_quantiles(numpy, stays)
        report.are_tokens_estimated = self._counter.sha256 is None
        if self._spec.prune_prefix:
            report.prefixes = {
                route: {"id": rule.id, "messages": len(rule.messages), "characters": len(rule.text)}
                for route, rule in sorted(job.prefixes.items())
            }

    def _sources(self, numpy: Any, stays: Any) -> dict[str, int]:
        ranks = numpy.frombuffer(self._columns.rank, "i1") if len(stays) else stays
        values, counts = numpy.unique(ranks[stays], return_counts=True)
        found = {_SOURCES[int(rank)]: int(n) for rank, n in zip(values, counts, strict=True)}
        return dict(sorted(found.items()))

    def _token_quantiles(self, numpy: Any, stays: Any) -> dict[str, int]:
        if not stays.any():
            return {}
        tokens = numpy.frombuffer(self._columns.tokens, "u4")[stays]
        spots = {"p50": 50, "p90": 90, "p99": 99, "max": 100}
        return {
            name: int(numpy.percentile(tokens, at, method="higher")) for name, at in spots.items()
        } | {"sum": int(tokens.sum(dtype="i8"))}


def _lines(folder: Path, shards: Iterable[int]) -> Iterator[bytes]:
    """The examples of all ranges; each file goes when it is read."""
    for number in shards:
        path = ShardFiles(folder, number).rows
        with path.open("rb") as file:
            yield from file
        path.unlink()


def _with_decision(line: bytes, group: int, split: str) -> bytes:
    """The row with its group and side: appended, for decoding a million rows takes a minute."""
    side = b"" if split == "train" else b',"split":"%b"' % split.encode()
    return b'%b,"group_key":"%016x"%b}\n' % (line[: -len(b"}\n")], group, side)


def _content_sha256(numpy: Any, columns: Columns, stays: Any) -> str:
    """sha256 over the sorted sha256s of the examples, in hex, a line each."""
    digest = hashlib.sha256()
    if len(stays):
        whole = numpy.frombuffer(columns.digest, dtype=f"S{DIGEST_BYTES}")[stays]
        whole.sort()
        for start in range(0, len(whole), HASHED_AT_ONCE):
            text = whole[start : start + HASHED_AT_ONCE].tobytes().hex("\n", DIGEST_BYTES)
            digest.update((b"\n" if start else b"") + text.encode())
    return digest.hexdigest()


def _groups(numpy: Any, decided: Decided, stays: Any) -> tuple[int, int]:
    """How many groups there are, and how many of them lie on two sides of the split."""
    group, split = decided.group[stays], decided.split[stays]
    order = numpy.argsort(group, kind="stable")
    group, split = group[order], split[order]
    is_same = group[1:] == group[:-1]
    torn = group[1:][is_same & (split[1:] != split[:-1])]
    return len(group) - int(is_same.sum()), len(numpy.unique(torn))


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


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{code} {count}" for code, count in counts.items() if count) or "nothing"
