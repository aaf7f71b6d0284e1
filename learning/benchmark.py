"""Running a benchmark: every question to every backend, each answer kept as it comes.

A run of one backend is named by what it asks whom; answers are rows of `eval_items`, so a run
that was killed, or stopped at its budget, goes on where it was, and one that is done costs nothing.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from adapters.backend import Backend
from pointsman.tokens import Usage

from .asking import Asker, Reply, open_asker, playing
from .budget import Budget, micro, most_micro
from .ledger import Ledger, now_us
from .question import Json, Question, digest_of, messages_of

Progress = Callable[[int, int], None]

OUTPUT_TOKENS: Final = 4096
"""Reserved for an answer whose request sets no limit; four times that where a model thinks."""
THINKING: Final = 4
ANSWER_CHARS_MAX: Final = 1 << 20

_INSERT: Final = (
    "insert or replace into eval_items(run_id, row_no, question_id, latency_us, first_token_us,"
    " cost_usd, confidence, output, error_type, prompt_tok, completion_tok, reasoning_tok)"
    " values (?,?,?,?,?,?,?,?,?,?,?,?)"
)


class Item(msgspec.Struct, frozen=True):
    """One answer as it was kept."""

    text: str | None
    error_type: str | None
    total_us: int
    first_token_us: int | None = None
    cost_usd: float | None = None
    confidence: float | None = None
    usage: Usage = Usage()


class Plan(msgspec.Struct, frozen=True):
    """What a benchmark asks, and how."""

    questions: list[Question]
    backends: dict[str, Backend]
    timeout_s: float = 60.0
    concurrency: int = 4
    """Calls to one backend at once."""
    budget_usd: float | None = None
    salt: str = ""
    """Another salt is another run, asked from the start."""


class Answers(msgspec.Struct, frozen=True):
    """By backend, one a question in their order; None where it was not asked."""

    items: dict[str, list[Item | None]]
    run_ids: dict[str, str]
    asked: int
    """Calls of this very run; the others were there."""
    spent_usd: float
    is_stopped: bool
    """The budget did not reach for all."""


class _Runner:
    """One benchmark under way."""

    def __init__(self, ledger: Ledger, plan: Plan, progress: Progress) -> None:
        self._ledger = ledger
        self._plan = plan
        self._progress = progress
        digest = digest_of(plan.questions)
        self.run_ids = {
            name: run_id(backend, digest, plan) for name, backend in plan.backends.items()
        }
        self.items = {name: load_items(ledger, run, len(plan.questions))
                      for name, run in self.run_ids.items()}  # fmt: skip
        self.asked = 0
        self.is_stopped = False
        self._in_flight = dict.fromkeys(plan.backends, 0)
        self._settled = asyncio.Event()
        self._budget: Budget | None = None
        if plan.budget_usd is not None:
            job = "benchmark:" + hashlib.sha256("".join(self.run_ids.values()).encode()).hexdigest()
            self._budget = Budget(ledger, job[:42], plan.budget_usd)
            self._budget.release_all()

    @property
    def spent_usd(self) -> float:
        """By this and earlier tries of the same benchmark where it has a budget."""
        if self._budget is not None:
            return self._budget.spent_usd
        return sum(i.cost_usd or 0.0 for items in self.items.values() for i in items if i)

    async def run(self) -> None:
        """Ask what is missing."""
        plan = self._plan
        self._tell()
        connections = plan.concurrency * len(plan.backends)
        async with (
            playing(plan.backends) as backends,
            open_asker(timeout_s=plan.timeout_s, connections=connections) as asker,
        ):
            await asyncio.gather(
                *(
                    self._work(asker, backends[name], queue)
                    for name in plan.backends
                    for queue in [iter(self._missing(name))]
                    for _ in range(plan.concurrency)
                )
            )

    def _missing(self, name: str) -> list[int]:
        return [row for row, item in enumerate(self.items[name]) if item is None]

    async def _work(self, asker: Asker, backend: Backend, queue: Iterator[int]) -> None:
        for row in queue:
            if self.is_stopped:
                return
            await self._ask(asker, backend, row)

    async def _ask(self, asker: Asker, backend: Backend, row: int) -> None:
        question = self._plan.questions[row]
        most = self._most_micro(backend, question.body)
        if not await self._reserve(most):
            self.is_stopped = True
            return
        self._in_flight[backend.name] += 1
        try:
            at_once = self._in_flight[backend.name]
            reply = await asker.ask(backend, question.body, served_at_once=at_once)
        finally:
            self._in_flight[backend.name] -= 1
            self._settled.set()
        self._keep(backend.name, row, question, reply, most)

    async def _reserve(self, most: int) -> bool:
        """Set `most` aside, waiting for what calls under way give back; False: it is too much."""
        while self._budget is not None and not self._budget.reserve(most):
            if self.is_stopped or not any(self._in_flight.values()):
                return False
            self._settled.clear()
            await self._settled.wait()
        return not self.is_stopped

    def _most_micro(self, backend: Backend, body: Json) -> int:
        if self._budget is None:
            return 0
        limit = output_limit(body)
        if limit is None:
            limit = OUTPUT_TOKENS * (THINKING if backend.is_reasoning else 1)
        return most_micro(
            backend.price,
            prompt_bytes=len(msgspec.json.encode(body)),
            messages=len(list(messages_of(body))),
            output_tokens=limit,
        )

    def _keep(self, name: str, row: int, question: Question, reply: Reply, most: int) -> None:
        item = item_of(reply)
        with self._ledger.transaction():
            self._ledger.execute(_INSERT, _values(self.run_ids[name], row, question.id, item))
            if self._budget is not None:
                paid = 0 if reply.error_type is not None and not reply.usage.completion else most
                self._budget.settle_within(most, micro(reply.cost_usd, paid))
        self.items[name][row] = item
        self.asked += 1
        self._tell()

    def _tell(self) -> None:
        done = sum(item is not None for items in self.items.values() for item in items)
        self._progress(done, len(self._plan.questions) * len(self._plan.backends))


def run_benchmark(
    directory: Path, plan: Plan, *, progress: Progress = lambda done, total: None
) -> Answers:
    """Ask what has not been asked yet; all answers. Raises BudgetRefused, Unaskable."""
    with Ledger(directory) as ledger:
        runner = _Runner(ledger, plan, progress)
        asyncio.run(runner.run())
        return Answers(
            runner.items, runner.run_ids, runner.asked, runner.spent_usd, runner.is_stopped
        )


def run_id(backend: Backend, digest: str, plan: Plan) -> str:
    """The same for the same questions to the same model at the same address and price."""
    address = (backend.name, backend.model, backend.price_version, plan.timeout_s, plan.salt)
    where = None if backend.is_simulated else (backend.host, backend.port, backend.path_prefix)
    profile = repr(backend.profile)
    return hashlib.sha256(repr((digest, address, where, profile)).encode()).hexdigest()[:32]


def load_items(ledger: Ledger, run: str, count: int) -> list[Item | None]:
    """What a run has so far."""
    items: list[Item | None] = [None] * count
    for row in ledger.rows("select * from eval_items where run_id = ?", (run,)):
        if row["row_no"] < count:
            output = row["output"]
            items[row["row_no"]] = Item(
                None if output is None else bytes(output).decode("utf-8", "replace"),
                row["error_type"],
                row["latency_us"],
                row["first_token_us"],
                row["cost_usd"],
                row["confidence"],
                Usage(row["prompt_tok"], row["completion_tok"], row["reasoning_tok"]),
            )
    return items


def item_of(reply: Reply) -> Item:
    """What is kept of a reply."""
    text = None if reply.text is None else reply.text[:ANSWER_CHARS_MAX]
    return Item(
        text,
        reply.error_type,
        reply.total_us,
        reply.first_token_us,
        reply.cost_usd,
        reply.confidence,
        reply.usage,
    )


def output_limit(body: Json) -> int | None:
    """The request's own limit on an answer's tokens."""
    for name in ("max_completion_tokens", "max_tokens"):
        value = body.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def keep_results(
    directory: Path, results: Sequence[Mapping[str, object]], run_ids: Mapping[str, str]
) -> None:
    """The summaries as rows of `eval_runs`, beside their items."""
    columns = (
        "backend", "model", "n", "n_err", "err_lo", "err_hi", "p50_us", "p95_us", "p99_us",
        "cost_usd", "reasoning_tok", "seed",
    )  # fmt: skip
    names = ", ".join(("id", "ts_us", *columns))
    marks = ",".join("?" * (len(columns) + 2))
    with Ledger(directory) as ledger, ledger.transaction():
        for result in results:
            values = [result[column] for column in columns]
            run = run_ids[str(result["backend"])]
            ledger.execute(
                f"insert or replace into eval_runs({names}) values ({marks})",
                (run, now_us(), *values),
            )


def _values(run: str, row: int, question_id: str, item: Item) -> tuple[object, ...]:
    text = None if item.text is None else item.text.encode("utf-8", "replace")
    usage = item.usage
    return (
        run, row, question_id, item.total_us, item.first_token_us, item.cost_usd, item.confidence,
        text, item.error_type, usage.prompt, usage.completion, usage.reasoning,
    )  # fmt: skip
