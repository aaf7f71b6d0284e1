"""Answers that people should look at, written out as JSONL and read back in.

    write_disputes   questions whose teacher samples disagree, whose label failed a check, or whose
                     captured answer says something else than the teacher; the heaviest first
    read_verdicts    rows with an `answer` become labels of source `human`; each supersedes the
                     one before

A row: {"request_id", "messages", "captured", "teacher", "samples", "agreement", "reason", "asked",
"answer": null}. Whoever decides fills `answer` with text, a JSON value or a whole message.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from telemetry.ids import new_id

from .answer_match import answer_text, canonical
from .capture_questions import question_of
from .captured import Selection, captured_by_id, captured_ids
from .import_pairs import Fault, lines
from .label_store import choose, read_message
from .ledger import Ledger, now_us
from .question import Json

AGREEMENT_MIN: Final = 0.67
"""Below two thirds of its samples a label is disputed."""
PAGE: Final = 500

_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class VerdictReport:
    """What people decided."""

    taken: int = 0
    undecided: int = 0
    """Rows whose `answer` is still null."""
    bad: list[Fault] = field(default_factory=list)


class _Verdict(msgspec.Struct):
    request_id: str
    answer: object = None


_decode_verdict = msgspec.json.Decoder(_Verdict).decode


def write_disputes(
    directory: Path, selection: Selection, output: Path, *, agreement_min: float = AGREEMENT_MIN
) -> int:
    """Write what is disputed; how many rows. The output is whole or is not there."""
    rows = sorted(_disputes(directory, selection, agreement_min), key=lambda row: -row[0])
    aside = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        with aside.open("wb") as file:
            file.writelines(_encode(row) + b"\n" for _, row in rows)
        aside.replace(output)
    finally:
        aside.unlink(missing_ok=True)
    return len(rows)


def _disputes(
    directory: Path, selection: Selection, agreement_min: float
) -> Iterator[tuple[float, Json]]:
    """Weight and row: disagreement times how often it was asked."""
    asked: Counter[bytes] = Counter()
    first: dict[bytes, str] = {}
    for identifier, digest in captured_ids(directory, selection):
        if digest is not None:
            asked[bytes(digest)] += 1
            first.setdefault(bytes(digest), identifier)
    with Ledger(directory) as ledger:
        hashes = list(first)
        for start in range(0, len(hashes), PAGE):
            page = hashes[start : start + PAGE]
            labels = _labels_of(ledger, page)
            wanted = [first[digest] for digest in page if digest in labels]
            for row in captured_by_id(directory, wanted):
                found = _dispute(row, labels[bytes(row.input_hash or b"")], agreement_min)
                if found is not None:
                    disagreement, fields = found
                    count = asked[bytes(row.input_hash or b"")]
                    yield disagreement * count, {**fields, "asked": count, "answer": None}


def _labels_of(ledger: Ledger, hashes: list[bytes]) -> dict[bytes, list[Any]]:
    marks = ",".join("?" * len(hashes))
    sql = f"select * from labels where input_hash in ({marks}) order by ts_us, id"
    found: dict[bytes, list[Any]] = {}
    for row in ledger.rows(sql, hashes):
        found.setdefault(bytes(row["input_hash"]), []).append(row)
    return found


def _dispute(row: Any, labels: list[Any], agreement_min: float) -> tuple[float, Json] | None:
    verdict = choose(labels)
    question = question_of(row)
    if verdict is None or question is None or verdict.source == "human":
        return None
    teachers = [label for label in labels if label["source"] == "teacher" and label["output"]]
    samples = [answer_text(read_message(label["output"])) for label in teachers]
    is_other = question.answer is not None and canonical(question.answer) != canonical(verdict.text)
    if verdict.agreement < agreement_min:
        reason = "samples disagree" if len(set(map(canonical, samples))) > 1 else "a check failed"
    elif is_other:
        reason = "captured answer differs"
    else:
        return None
    disagreement = 1 - verdict.agreement + (0.5 if is_other else 0.0)
    return disagreement, {
        "request_id": row.id,
        "reason": reason,
        "messages": question.body.get("messages"),
        "captured": question.answer,
        "teacher": verdict.text,
        "samples": samples,
        "agreement": verdict.agreement,
    }


def read_verdicts(directory: Path, source: Path) -> VerdictReport:
    """Take decided rows up as labels of people. Raises OSError."""
    report = VerdictReport()
    with Ledger(directory) as ledger, source.open("rb") as file:
        for number, line in lines(file):
            if line is not None and not line.strip():
                continue
            try:
                verdict = _decode_verdict(line or b"")
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                report.bad.append(Fault(number, str(error)))
                continue
            if verdict.answer is None:
                report.undecided += 1
            elif _take(directory, ledger, verdict):
                report.taken += 1
            else:
                report.bad.append(Fault(number, f"no capture {verdict.request_id}"))
    return report


def _take(directory: Path, ledger: Ledger, verdict: _Verdict) -> bool:
    """One human label, in place of the one before; one that says the same is left as it is."""
    row = next(captured_by_id(directory, [verdict.request_id]), None)
    if row is None:
        return False
    output = _encode(read_message(_encode(verdict.answer)))
    before = ledger.row(
        "select id, output from labels where input_hash = ? and source = 'human'"
        " order by ts_us desc, id desc limit 1",
        (row.input_hash or b"",),
    )
    if before is None or bytes(before["output"] or b"") != output:
        ledger.run(
            "insert into labels(id, request_id, input_hash, source, output, ts_us, supersedes)"
            " values (?,?,?,'human',?,?,?)",
            (
                new_id(), row.id, row.input_hash or b"", output, now_us(),
                before["id"] if before else None,
            ),
        )  # fmt: skip
    return True
