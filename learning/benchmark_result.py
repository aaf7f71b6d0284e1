"""What a benchmark found: each backend against the route's requirements, and against each other.

Pure. A failed call is a wrong answer; one that ran into its time limit also counts in the
latencies, with that limit. Requirements are judged by intervals: met, missed, or undecided with
how many more samples would tell.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Literal

import msgspec

from adapters.backend import Backend
from pointsman.tokens import TOKENS_PER_PRICE
from policies.words import Require

from .answer_match import COMPARISONS
from .benchmark import Item
from .intervals import (
    CONFIDENCE,
    Interval,
    bootstrap_mean,
    bootstrap_quantile,
    holm,
    mcnemar,
    samples_needed,
    wilson,
)
from .question import Question

Judgement = Literal["met", "missed", "undecided", "unknown"]


class Requirement(msgspec.Struct, frozen=True):
    """One limit held against one backend. Latencies in seconds, shares 0..1, cost in dollars."""

    name: str
    limit: str
    judgement: Judgement
    value: float | None = None
    low: float | None = None
    high: float | None = None
    more_samples: int | None = None
    """Where undecided: how many would tell, at the rate seen so far. None: no number would."""


class BackendResult(msgspec.Struct, frozen=True):
    """What one backend did. Spans in microseconds, money US dollars; None is unknown."""

    backend: str
    model: str
    n: int
    n_err: int
    """Wrong answers and failures together."""
    failures: dict[str, int]
    n_judged: int
    """Of `n`, those whose right answer is known."""
    error: Interval | None
    p50: Interval | None
    p95: Interval | None
    p90_us: float | None
    p99_us: float | None
    first_token_p50_us: float | None
    first_token_p95_us: float | None
    usd_per_1k: Interval | None
    reasoning_usd_per_1k: float | None
    """Of that, what was paid for tokens nobody reads."""
    prompt_tok: float | None
    completion_tok: float | None
    reasoning_tok: float | None
    requirements: list[Requirement]
    is_reference: bool = False

    @property
    def meets_all(self) -> bool:
        """Every requirement is met, shown by the samples."""
        return all(r.judgement == "met" for r in self.requirements)


class PairResult(msgspec.Struct, frozen=True):
    """Two backends on the same questions; differences are first minus second."""

    first: str
    second: str
    n: int
    only_first_right: int
    only_second_right: int
    p_value: float
    p_adjusted: float
    latency_s: Interval | None
    usd_per_1k: Interval | None


class Grading(msgspec.Struct, frozen=True):
    """How answers are judged and what for."""

    compare: str = "auto"
    reference: str | None = None
    """A backend whose answers stand for the right ones, where no other is known."""
    require: Require = Require()
    seed: int = 0


class Graded(msgspec.Struct, frozen=True):
    """Every answer with whether it is right; None where nobody knows."""

    questions: list[Question]
    items: dict[str, list[Item | None]]
    right: dict[str, list[bool | None]]
    grading: Grading


def grade(
    questions: list[Question], items: Mapping[str, list[Item | None]], grading: Grading
) -> Graded:
    """Hold every answer against the one that is right."""
    expected = [question.expected for question in questions]
    if grading.reference is not None:
        told = items[grading.reference]
        expected = [
            known if known is not None else (item.text if item else None)
            for known, item in zip(expected, told, strict=True)
        ]
    same = COMPARISONS[grading.compare]
    right: dict[str, list[bool | None]] = {}
    for name, answers in items.items():
        right[name] = [
            None
            if item is None or (wanted is None and item.error_type is None)
            else item.text is not None and wanted is not None and same(wanted, item.text)
            for wanted, item in zip(expected, answers, strict=True)
        ]
    return Graded(questions, dict(items), right, grading)


def summarise(graded: Graded, backends: Mapping[str, Backend]) -> list[BackendResult]:
    """One result a backend, in the order they were given."""
    return [_result(graded, backends[name]) for name in graded.items]


def _result(graded: Graded, backend: Backend) -> BackendResult:
    name, seed = backend.name, graded.grading.seed
    is_reference = name == graded.grading.reference and all(
        question.expected is None for question in graded.questions
    )
    items = [item for item in graded.items[name] if item is not None]
    right = [r for r in graded.right[name] if r is not None]
    wrong = right.count(False)
    timed = _clusters(graded, name, _seconds)
    costs = _clusters(graded, name, lambda item: item.cost_usd)
    failures: dict[str, int] = {}
    for item in items:
        if item.error_type is not None:
            failures[item.error_type] = failures.get(item.error_type, 0) + 1
    firsts = sorted(i.first_token_us for i in items if i.first_token_us is not None)
    p50, p95 = (_latency(timed, share, seed) for share in (0.50, 0.95))
    p90, p99 = (_latency(timed, share, seed, resamples=1) for share in (0.90, 0.99))
    cost = _scaled(bootstrap_mean(costs, seed=seed), 1000) if costs else None
    return BackendResult(
        backend=name,
        model=backend.model,
        n=len(items),
        n_err=wrong,
        failures=failures,
        n_judged=len(right),
        error=wilson(wrong, len(right)) if right and not is_reference else None,
        p50=p50,
        p95=p95,
        p90_us=p90.value if p90 else None,
        p99_us=p99.value if p99 else None,
        first_token_p50_us=_nth(firsts, 0.50),
        first_token_p95_us=_nth(firsts, 0.95),
        usd_per_1k=cost,
        reasoning_usd_per_1k=_reasoning(items, backend),
        prompt_tok=_mean([i.usage.prompt for i in items]),
        completion_tok=_mean([i.usage.completion for i in items]),
        reasoning_tok=_mean([i.usage.reasoning for i in items]),
        requirements=_requirements(graded, name, right, items, cost),
        is_reference=is_reference,
    )


# -- requirements ------------------------------------------------------------------------------


def _requirements(
    graded: Graded,
    name: str,
    right: list[bool],
    items: list[Item],
    cost: Interval | None,
) -> list[Requirement]:
    require = graded.grading.require
    found = []
    if require.error is not None:
        limit, confidence = require.error.max, require.error.confidence
        found.append(_share("error", f"{limit:.1%}", right.count(False), len(right), limit,
                            confidence))  # fmt: skip
    if require.latency is not None:
        budget, share = require.latency.budget_s, require.latency.quantile
        clock = require.latency.of
        late = sum(_is_late(item, budget, clock) for item in items)
        text = f"p{share * 100:g} {budget * 1000:g} ms" + (
            " to the first token" if clock == "first_token" else ""
        )
        found.append(_share("late", text, late, len(items), 1 - share, CONFIDENCE))
    if require.cost is not None:
        found.append(_cost(require.cost.max_usd, cost, len(items)))
    return found


def _share(
    name: str, text: str, count: int, total: int, limit: float, confidence: float
) -> Requirement:
    if total == 0:
        return Requirement(name, text, "unknown")
    interval = wilson(count, total, confidence)
    if interval.high <= limit:
        return Requirement(name, text, "met", *interval)
    if interval.low > limit:
        return Requirement(name, text, "missed", *interval)
    needed = samples_needed(interval.value, limit, confidence)
    more = None if needed is None else max(1, needed - total)
    return Requirement(name, text, "undecided", *interval, more_samples=more)


def _cost(limit_usd: float, per_1k: Interval | None, total: int) -> Requirement:
    text = f"${limit_usd:g}"
    if per_1k is None:
        return Requirement("cost", text, "unknown")
    value, low, high = (bound / 1000 for bound in per_1k)
    if high <= limit_usd:
        return Requirement("cost", text, "met", value, low, high)
    if low > limit_usd:
        return Requirement("cost", text, "missed", value, low, high)
    gap = abs(value - limit_usd)
    more = None
    if gap > 0:  # the interval shrinks with the root of the samples
        more = max(1, math.ceil(total * ((high - low) / 2 / gap) ** 2) - total)
    return Requirement("cost", text, "undecided", value, low, high, more_samples=more)


def _is_late(item: Item, budget_s: float, clock: str) -> bool:
    if item.error_type is not None:
        return True
    spent_us = item.first_token_us if clock == "first_token" else item.total_us
    return spent_us is None or spent_us > budget_s * 1e6


# -- pairs -------------------------------------------------------------------------------------


def compare_pairs(graded: Graded) -> list[PairResult]:
    """Every two backends, p-values adjusted for how many pairs there are."""
    pairs = [_pair(graded, a, b) for a, b in combinations(graded.items, 2)]
    adjusted = holm([pair.p_value for pair in pairs])
    return [
        msgspec.structs.replace(pair, p_adjusted=p) for pair, p in zip(pairs, adjusted, strict=True)
    ]


def _pair(graded: Graded, first: str, second: str) -> PairResult:
    both = [
        (a, b)
        for a, b in zip(graded.right[first], graded.right[second], strict=True)
        if a is not None and b is not None
    ]
    only_first = sum(a and not b for a, b in both)
    only_second = sum(b and not a for a, b in both)
    p_value = mcnemar(only_first, only_second)
    return PairResult(
        first=first,
        second=second,
        n=len(both),
        only_first_right=only_first,
        only_second_right=only_second,
        p_value=p_value,
        p_adjusted=p_value,
        latency_s=_difference(graded, first, second, "total_us", 1e-6),
        usd_per_1k=_difference(graded, first, second, "cost_usd", 1000),
    )


def _difference(
    graded: Graded, first: str, second: str, field: str, scale: float
) -> Interval | None:
    """The mean of first minus second over questions both answered."""
    by_conversation: dict[str, list[float]] = {}
    rows = zip(graded.questions, graded.items[first], graded.items[second], strict=True)
    for question, a, b in rows:
        ours, theirs = (getattr(item, field) if item else None for item in (a, b))
        if ours is not None and theirs is not None:
            by_conversation.setdefault(question.conversation, []).append((ours - theirs) * scale)
    clusters = list(by_conversation.values())
    return bootstrap_mean(clusters, seed=graded.grading.seed) if clusters else None


class Change(msgspec.Struct, frozen=True):
    """A question that one backend gets right and another wrong."""

    question_id: str
    asked: str
    expected: str | None
    first: str | None
    second: str | None


def changes(graded: Graded, first: str, second: str) -> tuple[list[Change], list[Change]]:
    """What moving from `first` to `second` fixes, and what it breaks."""
    fixed: list[Change] = []
    broken: list[Change] = []
    for row, question in enumerate(graded.questions):
        before, after = graded.right[first][row], graded.right[second][row]
        if before is None or after is None or before == after:
            continue
        a, b = graded.items[first][row], graded.items[second][row]
        change = Change(
            question.id,
            last_words(question),
            question.expected,
            a.text if a else None,
            b.text if b else None,
        )
        (fixed if after else broken).append(change)
    return fixed, broken


def last_words(question: Question) -> str:
    """What was asked last, for people."""
    messages = question.body.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else {}
    content = last.get("content") if isinstance(last, dict) else None
    return content if isinstance(content, str) else msgspec.json.encode(content).decode()


# -- figures -----------------------------------------------------------------------------------


def _clusters(graded: Graded, name: str, read: Callable[[Item], float | None]) -> list[list[float]]:
    """Values by conversation, where there is one."""
    by_conversation: dict[str, list[float]] = {}
    for question, item in zip(graded.questions, graded.items[name], strict=True):
        value = read(item) if item is not None else None
        if value is not None:
            by_conversation.setdefault(question.conversation, []).append(value)
    return list(by_conversation.values())


def _seconds(item: Item) -> float | None:
    """A timeout counts with its limit; a call that failed at once says nothing of speed."""
    return item.total_us / 1e6 if item.error_type in (None, "timeout") else None


def _latency(
    clusters: list[list[float]], share: float, seed: int, *, resamples: int = 2000
) -> Interval | None:
    if not clusters:
        return None
    return _scaled(bootstrap_quantile(clusters, share, seed=seed, resamples=resamples), 1e6)


def _scaled(interval: Interval, factor: float) -> Interval:
    return Interval(*(bound * factor for bound in interval))


def _reasoning(items: Sequence[Item], backend: Backend) -> float | None:
    price = backend.price.output if backend.price else None
    mean = _mean([item.usage.reasoning for item in items])
    if price is None or mean is None:
        return None
    return 1000 * mean * price / TOKENS_PER_PRICE


def _mean(values: Sequence[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _nth(ordered: Sequence[int], share: float) -> float | None:
    if not ordered:
        return None
    return float(ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)])
