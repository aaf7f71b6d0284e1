"""How long an answer will take: `T = TTFT + (tokens - 1) * gap`, or TTFT alone.

Whole times of the same task are used as they are. Else time to first token and time per token,
which are kept apart (dividing one by the other makes long answers look fast), are put together
with the token counts seen. Answers that were not streamed tell only their whole time.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import product

import msgspec

from .cell import Cell
from .facts import Expect
from .inquiry import SAMPLES_MIN, Cells, Inquiry, LatencyQuestion, measured_sketch
from .sketch import Sketch
from .token_estimate import TokenEstimate, capped

POINTS = 7  # quantiles that stand for a sketch when three are put together: 343 sums


class LatencyEstimate(msgspec.Struct, frozen=True):
    """The time asked about; all None where it is unknown."""

    p50_s: float | None = None
    p95_s: float | None = None
    rank_s: float | None = None
    """At the quantile asked for."""
    p_within: float | None = None
    """P(T <= budget); None without a budget, and where assumed tokens leave it open."""
    is_prior: bool = False
    """From `expect:`."""


UNKNOWN = LatencyEstimate()


class Points:
    """A distribution given by equally likely values."""

    __slots__ = ("_values",)

    def __init__(self, values: Sequence[float]) -> None:
        """`values` are at least one."""
        self._values = sorted(values)

    def quantile(self, quantile: float) -> float:
        """The smallest value that this share does not exceed."""
        return self._values[min(int(quantile * len(self._values)), len(self._values) - 1)]

    def share_within(self, limit: float) -> float:
        """The share of values at or below `limit`."""
        return bisect_right(self._values, limit) / len(self._values)


def estimate_latency(
    expect: Expect | None, inquiry: Inquiry, cells: Cells, tokens: TokenEstimate
) -> LatencyEstimate:
    """What was measured, else what `expect:` gives, else unknown."""
    question = inquiry.question
    measured = _first_token(cells) if question.of == "first_token" else _total(inquiry, cells)
    if measured is not None:
        return _from_distribution(measured, question, cells.stretch)
    if question.of == "first_token":
        first_s = expect.first_token_s if expect is not None else None
        return _from_expect(question, expected_s=first_s, least_s=first_s)
    return _from_expect(
        question,
        expected_s=expected_total_s(expect, tokens.output),
        least_s=expected_total_s(expect, tokens.output_least),
    )


def expected_total_s(expect: Expect | None, tokens: float) -> float | None:
    """Seconds for a whole answer by the operator's figures; None where they are not enough."""
    if expect is None or expect.first_token_s is None or not expect.tokens_per_second:
        return None
    return expect.first_token_s + max(0.0, tokens - 1) / expect.tokens_per_second


def _from_distribution(
    times: Sketch | Points, question: LatencyQuestion, stretch: float
) -> LatencyEstimate:
    budget_s = question.budget_s
    return LatencyEstimate(
        p50_s=_stretched(times.quantile(0.5), stretch),
        p95_s=_stretched(times.quantile(0.95), stretch),
        rank_s=_stretched(times.quantile(question.quantile), stretch),
        p_within=None if budget_s is None else times.share_within(budget_s / stretch),
    )


def _stretched(span_s: float | None, stretch: float) -> float | None:
    return None if span_s is None else span_s * stretch


def _from_expect(
    question: LatencyQuestion, *, expected_s: float | None, least_s: float | None
) -> LatencyEstimate:
    if expected_s is None or least_s is None:
        return UNKNOWN
    within = None
    if question.budget_s is not None:
        if expected_s <= question.budget_s:
            within = 1.0
        elif least_s > question.budget_s:
            within = 0.0
    return LatencyEstimate(expected_s, expected_s, expected_s, within, is_prior=True)


def _first_token(cells: Cells) -> Sketch | None:
    found = (cells.task, cells.size, cells.backend)
    return measured_sketch(cell.first_token_s for cell in found if cell is not None)


def _total(inquiry: Inquiry, cells: Cells) -> Sketch | Points | None:
    if cells.task is not None and cells.task.total_s.count >= SAMPLES_MIN:
        return cells.task.total_s
    visible = measured_sketch(
        cell.visible for cell in (cells.task, cells.backend) if cell is not None
    )
    for cell in (cells.size, cells.backend):
        if cell is not None:
            found = _composed(cell, visible, inquiry.output_max) or measured_sketch([cell.total_s])
            if found is not None:
                return found
    return None


def _composed(cell: Cell, visible: Sketch | None, output_max: int | None) -> Points | None:
    """TTFT + (tokens - 1) * gap, the three taken as independent."""
    if visible is None or min(cell.first_token_s.count, cell.gap_s.count) < SAMPLES_MIN:
        return None
    counts = [capped(tokens, output_max) for tokens in visible.points(POINTS)]
    firsts, gaps = cell.first_token_s.points(POINTS), cell.gap_s.points(POINTS)
    return Points(
        [
            first_s + max(0.0, count - 1) * gap_s
            for first_s, gap_s, count in product(firsts, gaps, counts)
        ]
    )
