"""A teacher's questions as a provider's batch file, and its results back in.

    write_batch   one line a sample: {"custom_id", "method", "url", "body"}; each is reserved in
                  the budget and remembered as open before the file is there
    read_batch    results in any order, part of them or all; an error row frees its reservation
                  and is asked again by the next run

`custom_id` is the sample's cache key: a result finds its question whatever became of the file.
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from pointsman.tokens import Usage
from telemetry.sync import sync_directory

from .assemble import assemble
from .budget import MICRO, Budget
from .capture_questions import question_of
from .captured import captured_by_id
from .import_pairs import Fault, lines
from .label import LabelPlan, LabelReport, keep_label, missing_samples, most_for, open_budget
from .ledger import Ledger, now_us
from .teacher import Sample

BATCH_ROWS_MAX: Final = 50_000  # OpenAI's limit for one file
BATCH_BYTES_MAX: Final = 190_000_000  # theirs is 200 MB
URL: Final = "/v1/chat/completions"

_OPEN: Final = (
    "insert into label_requests(cache_key, job_id, request_id, input_hash, model, prompt_hash,"
    " sample_no, reserved_micro, ts_us) values (?,?,?,?,?,?,?,?,?)"
)


@dataclass(slots=True)
class BatchReport:
    """What was read back."""

    labelled: int = 0
    spoilt: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    unknown: int = 0
    """Results of no open question: read before, or of another store."""
    waiting: int = 0
    """Questions still without a result."""
    bad: list[Fault] = field(default_factory=list)
    spent_usd: float = 0.0


class _Response(msgspec.Struct):
    status_code: int = 0
    body: msgspec.Raw = msgspec.Raw(b"null")


class _Result(msgspec.Struct):
    custom_id: str
    response: _Response | None = None
    error: object = None


class _Answer(msgspec.Struct):
    """Of an answer's body, what is billed and who gave it."""

    model: str | None = None
    usage: dict[str, object] | None = None


_decode_result = msgspec.json.Decoder(_Result).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode


def write_batch(
    directory: Path, plan: LabelPlan, output: Path, *, discount: float
) -> tuple[LabelReport, int]:
    """Write what is missing and the budget reaches for; how many rows.

    `discount` is the share of the price a batch costs less. Raises BudgetRefused, OSError; the
    output is whole or is not there.
    """
    with Ledger(directory) as ledger:
        report = LabelReport()
        missing = missing_samples(ledger, plan, report)
        budget = open_budget(ledger, plan)
        aside = output.with_name(f".{output.name}.{os.getpid()}.part")
        try:
            rows = _rows_within(plan, missing, budget, aside, discount)
            _remember(ledger, plan, rows, budget)
            aside.replace(output)
            sync_directory(output.absolute().parent)
        finally:
            aside.unlink(missing_ok=True)
        report.left = len(missing) - len(rows)
        if report.left:
            report.stopped = "the budget or the file's limit does not reach for more"
        report.spent_usd = budget.spent_usd
    return report, len(rows)


def _rows_within(
    plan: LabelPlan, missing: Sequence[Sample], budget: Budget, aside: Path, discount: float
) -> list[tuple[Sample, int]]:
    """Write rows as long as each can be paid for; what was written, with its reservation."""
    rows: list[tuple[Sample, int]] = []
    room = budget.room_micro
    size = 0
    with aside.open("wb") as file:
        for sample in missing:
            most = round(most_for(plan, sample.body) * (1 - discount))
            line = msgspec.json.encode(
                {
                    "custom_id": sample.cache_key,
                    "method": "POST",
                    "url": URL,
                    "body": {"model": plan.teacher.model, **sample.body},
                }
            )
            size += len(line) + 1
            if most > room or size > BATCH_BYTES_MAX or len(rows) >= BATCH_ROWS_MAX:
                break
            room -= most
            file.write(line + b"\n")
            rows.append((sample, most))
        file.flush()
        os.fsync(file.fileno())
    return rows


def _remember(
    ledger: Ledger, plan: LabelPlan, rows: Sequence[tuple[Sample, int]], budget: Budget
) -> None:
    """All reservations and open questions at once."""
    task = plan.task
    with ledger.transaction():
        for sample, most in rows:
            question = sample.question
            ledger.execute(
                _OPEN,
                (
                    sample.cache_key, budget.job, question.id, question.input_hash or b"",
                    task.model, task.prompt_hash, sample.number, most, now_us(),
                ),
            )  # fmt: skip
        budget.reserve_within(sum(most for _, most in rows))


def abandon_batches(directory: Path, plan: LabelPlan) -> int:
    """Wait for no batch of this job any more; how many questions were open."""
    with Ledger(directory) as ledger:
        budget = open_budget(ledger, plan)
        count = ledger.run("delete from label_requests where job_id = ?", (budget.job,))
        budget.release_all()
    return count


def read_batch(directory: Path, plan: LabelPlan, source: Path, *, discount: float) -> BatchReport:
    """Take the results of `source` up. Safe to repeat. Raises OSError."""
    report = BatchReport()
    with Ledger(directory) as ledger, source.open("rb") as file:
        budget = open_budget(ledger, plan)
        reader = _Reader(directory, ledger, plan, budget, report, discount)
        for number, line in lines(file):
            if line is None:
                report.bad.append(Fault(number, "too long"))
            elif line.strip():
                reader.take(number, line)
        reader.finish()
        waiting = ledger.row(
            "select count(*) n from label_requests where job_id = ?", (budget.job,)
        )
        report.waiting = waiting["n"] if waiting else 0
        report.spent_usd = budget.spent_usd
    return report


class _Reader:
    """One result after the other."""

    def __init__(
        self,
        directory: Path,
        ledger: Ledger,
        plan: LabelPlan,
        budget: Budget,
        report: BatchReport,
        discount: float,
    ) -> None:
        self._directory = directory
        self._ledger = ledger
        self._plan = plan
        self._budget = budget
        self._report = report
        self._discount = discount
        self._failed: Counter[str] = Counter()
        self._spoilt: Counter[str] = Counter()

    def finish(self) -> None:
        """Counts into the report."""
        self._report.failed = dict(self._failed)
        self._report.spoilt = dict(self._spoilt)

    def take(self, number: int, line: bytes) -> None:
        """One line of the results."""
        try:
            result = _decode_result(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._report.bad.append(Fault(number, str(error)))
            return
        row = self._ledger.row(
            "select * from label_requests where cache_key = ?", (result.custom_id,)
        )
        if row is None:
            self._report.unknown += 1
            return
        response = result.response
        if response is None or result.error is not None or response.status_code != 200:
            self._failed[f"status_{response.status_code}" if response else "error"] += 1
            with self._ledger.transaction():
                self._close(result.custom_id, row["reserved_micro"], 0)
            return
        self._label(number, row, bytes(response.body))

    def _label(self, number: int, row: Any, body: bytes) -> None:
        answer = assemble(body)
        sample = self._sample(row)
        if answer is None or sample is None:
            why = "its answer cannot be read" if answer is None else "its capture is gone"
            self._report.bad.append(Fault(number, why))
            return
        facts, cost_usd = self._bill(body)
        reserved = row["reserved_micro"]
        with self._ledger.transaction():
            fault = keep_label(
                self._ledger,
                sample,
                self._plan,
                message=answer.message,
                finish_reason=answer.finish_reason,
                cost_usd=cost_usd,
                reported=facts.model,
            )
            spent = reserved if cost_usd is None else round(cost_usd * MICRO + 0.4999)
            self._close(sample.cache_key, reserved, spent)
        if fault is None:
            self._report.labelled += 1
        else:
            self._spoilt[fault] += 1

    def _bill(self, body: bytes) -> tuple[_Answer, float | None]:
        try:
            facts = _decode_answer(body)
        except msgspec.DecodeError:
            return _Answer(), None
        usage = facts.usage or {}
        prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
        price = self._plan.teacher.price
        if price is None or not isinstance(prompt, int) or not isinstance(completion, int):
            return facts, None
        cost = price.cost_usd(Usage(prompt, completion), busy_s=0.0)
        return facts, None if cost is None else cost * (1 - self._discount)

    def _close(self, key: str, reserved: int, spent: int) -> None:
        self._ledger.execute("delete from label_requests where cache_key = ?", (key,))
        self._budget.settle_within(reserved, spent)

    def _sample(self, row: Any) -> Sample | None:
        """The sample as it was asked for; None where its capture is gone."""
        identifier, key = row["request_id"], row["cache_key"]
        for captured in captured_by_id(self._directory, [identifier]):
            question = question_of(captured)
            if question is not None:
                return Sample(question, row["sample_no"], key, {})
        return None
