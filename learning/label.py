"""Relabelling captures with a teacher, within a hard budget.

    missing samples -> reserve the most each can cost -> ask -> label and bill in one transaction

Every label commits as it comes, so after a kill only what has none is asked again. An answer that
was cut, filtered or refused is kept without its text: it is paid for and would come again.
A call that failed is not kept and is tried by the next run.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from adapters.backend import Backend
from policies.words import Route
from telemetry.ids import new_id

from .asking import Asker, Reply, open_asker, playing
from .budget import Budget, micro, most_micro
from .ledger import Ledger, now_us
from .question import Json, Question, messages_of
from .teacher import Sample, Task, samples_of, score, spoilt

Progress = Callable[[int, int], None]

TROUBLES_IN_A_ROW_MAX: Final = 20
"""So many failed calls one after the other, and the teacher is taken to be out of order."""

_LABEL: Final = (
    "insert or ignore into labels(id, request_id, input_hash, source, model, prompt_hash,"
    " cache_key, sample_no, output, score, verdict, cost_usd, ts_us, supersedes)"
    " values (?,?,?,'teacher',?,?,?,?,?,?,?,?,?,null)"
)


class LabelPlan(msgspec.Struct, frozen=True):
    """What is asked of whom."""

    questions: list[Question]
    teacher: Backend
    task: Task
    budget_usd: float
    routes: dict[str, Route] = {}
    concurrency: int = 4
    timeout_s: float = 120.0


@dataclass(slots=True)
class LabelReport:
    """What became of the samples that were asked for."""

    wanted: int = 0
    known: int = 0
    """Labelled by an earlier run: they cost nothing."""
    waiting: int = 0
    """In a batch that has not come back."""
    labelled: int = 0
    spoilt: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    left: int = 0
    """Not asked: the budget did not reach, or the teacher was out of order."""
    spent_usd: float = 0.0
    """By all runs of this job."""
    overrun_usd: float = 0.0
    stopped: str | None = None


def label(
    directory: Path, plan: LabelPlan, *, progress: Progress = lambda done, total: None
) -> LabelReport:
    """Ask what has no label. Raises BudgetRefused, Unaskable."""
    with Ledger(directory) as ledger:
        report = LabelReport()
        missing = missing_samples(ledger, plan, report)
        budget = open_budget(ledger, plan)
        if missing:
            asyncio.run(_Labeller(ledger, plan, report, budget, progress).run(missing))
        report.spent_usd = budget.spent_usd
        report.overrun_usd = budget.overrun_micro / 1e6
    return report


def missing_samples(ledger: Ledger, plan: LabelPlan, report: LabelReport) -> list[Sample]:
    """Samples that have neither a label nor a place in an open batch."""
    known = {row[0] for row in ledger.rows("select cache_key from labels where cache_key not null")}
    open_ = {row[0] for row in ledger.rows("select cache_key from label_requests")}
    missing = []
    for sample in samples_of(plan.questions, plan.task):
        report.wanted += 1
        if sample.cache_key in known:
            report.known += 1
        elif sample.cache_key in open_:
            report.waiting += 1
        else:
            missing.append(sample)
    return missing


def job_of(plan: LabelPlan) -> str:
    """One budget a teacher and instruction: what was spent on it stays spent."""
    named = f"{plan.task.model}|{plan.task.prompt_hash}"
    return "label:" + hashlib.sha256(named.encode()).hexdigest()[:32]


def open_budget(ledger: Ledger, plan: LabelPlan) -> Budget:
    """The job's budget, with what calls of dead processes had reserved given back."""
    job = job_of(plan)
    row = ledger.row(
        "select coalesce(sum(reserved_micro), 0) n from label_requests where job_id = ?", (job,)
    )
    ledger.run(
        "update budgets set reserved_micro = min(reserved_micro, ?) where job_id = ?",
        (row["n"] if row else 0, job),
    )
    return Budget(ledger, job, plan.budget_usd)


def most_for(plan: LabelPlan, body: Json) -> int:
    """The most one sample can cost, in micro-dollars. Raises BudgetRefused."""
    return most_micro(
        plan.teacher.price,
        prompt_bytes=len(msgspec.json.encode(body)),
        messages=len(list(messages_of(body))),
        output_tokens=plan.task.max_completion_tokens,
    )


def keep_label(
    ledger: Ledger,
    sample: Sample,
    plan: LabelPlan,
    *,
    message: Json,
    finish_reason: str | None,
    cost_usd: float | None,
    reported: str | None,
) -> str | None:
    """Write a label, inside the caller's transaction; why it teaches nothing, or None."""
    fault = spoilt(message, finish_reason)
    output = None if fault else msgspec.json.encode({**message, "role": "assistant"})
    question = sample.question
    ledger.execute(
        _LABEL,
        (
            new_id(), question.id, question.input_hash or b"", reported or plan.task.model,
            plan.task.prompt_hash, sample.cache_key, sample.number, output,
            None if fault else score(message, question, plan.routes), fault, cost_usd, now_us(),
        ),
    )  # fmt: skip
    return fault


class _Labeller:
    """One run under way."""

    def __init__(
        self,
        ledger: Ledger,
        plan: LabelPlan,
        report: LabelReport,
        budget: Budget,
        progress: Progress,
    ) -> None:
        self._ledger = ledger
        self._plan = plan
        self._report = report
        self._budget = budget
        self._progress = progress
        self._in_flight = 0
        self._troubles = 0
        self._done = 0
        self._settled = asyncio.Event()
        self._failed: Counter[str] = Counter()
        self._spoilt: Counter[str] = Counter()

    async def run(self, missing: Sequence[Sample]) -> None:
        """Ask them all, as far as the budget reaches."""
        plan = self._plan
        most_for(plan, missing[0].body)  # an unknown price is told before anything is sent
        queue = iter(missing)
        backends: Mapping[str, Backend] = {plan.teacher.name: plan.teacher}
        async with (
            playing(dict(backends)) as reachable,
            open_asker(timeout_s=plan.timeout_s, connections=plan.concurrency) as asker,
        ):
            teacher = reachable[plan.teacher.name]
            await asyncio.gather(
                *(self._work(asker, teacher, queue, len(missing)) for _ in range(plan.concurrency))
            )
        self._report.left = len(missing) - self._done
        self._report.failed = dict(self._failed)
        self._report.spoilt = dict(self._spoilt)

    async def _work(
        self, asker: Asker, teacher: Backend, queue: Iterator[Sample], total: int
    ) -> None:
        for sample in queue:
            most = most_for(self._plan, sample.body)
            if not await self._reserve(most):
                return
            self._in_flight += 1
            try:
                reply = await asker.ask(teacher, sample.body, served_at_once=self._in_flight)
            finally:
                self._in_flight -= 1
                self._settled.set()
            self._keep(sample, reply, most)
            self._done += 1
            self._progress(self._done, total)

    async def _reserve(self, most: int) -> bool:
        while self._report.stopped is None and not self._budget.reserve(most):
            if not self._in_flight:
                self._report.stopped = "the budget does not reach for another call"
                return False
            self._settled.clear()
            await self._settled.wait()
        return self._report.stopped is None

    def _keep(self, sample: Sample, reply: Reply, most: int) -> None:
        message = reply.message
        if reply.error_type is not None or message is None:
            self._failed[reply.error_type or "unreadable"] += 1
            self._troubles += 1
            if self._troubles >= TROUBLES_IN_A_ROW_MAX:
                self._report.stopped = f"{self._troubles} calls failed one after the other"
            paid = most if reply.usage.completion else 0
            self._budget.settle(most, micro(reply.cost_usd, paid))
            return
        self._troubles = 0
        with self._ledger.transaction():
            fault = keep_label(
                self._ledger,
                sample,
                self._plan,
                message=message,
                finish_reason=reply.finish_reason,
                cost_usd=reply.cost_usd,
                reported=reply.model,
            )
            self._budget.settle_within(most, micro(reply.cost_usd, most))
        if fault is None:
            self._report.labelled += 1
        else:
            self._spoilt[fault] += 1
