"""What a backend's answer will cost and how long it will take, from what was seen of it.

Every quantity backs off from the narrowest cell with enough samples to the next:

    (backend, task) -> (backend, prompt size; times only) -> backend -> `expect:` -> unknown

`T = TTFT + (tokens - 1) * gap` for the whole answer, TTFT alone for the first token; where the
cell has whole times of its own, those are used as they are. Unknown is None, never zero.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple

import msgspec

from pointsman.tokens import TOKENS_PER_PRICE, Price, Usage

from .cell import Cell
from .facts import BackendFacts, Expect
from .sketch import Mean, Sketch
from .words import Clock

SAMPLES_MIN = 20
"""From this many on, what was measured replaces `expect:`."""
TOKENS_PER_BYTE_PRIOR = 0.25
COMPLETION_TOKENS_PRIOR = 256.0
"""A middling chat answer; a stand-in that only ranks until answers were seen."""
REASONING_TOKENS_PRIOR = 1024.0
"""On top of it, for a backend that thinks in tokens."""
POINTS = 7  # quantiles that stand for a sketch when two are added: 7^3 = 343 sums


class LatencyQuestion(msgspec.Struct, frozen=True, eq=False):
    """What a route asks of latency. Equal by identity: each compiled route has its own."""

    of: Clock
    quantile: float
    budget_s: float | None
    """None: no limit; the quantile only ranks."""


class Inquiry(NamedTuple):
    """What a prediction depends on, besides the backend; the key of a prediction."""

    question: LatencyQuestion
    task: str
    size: int
    """See `size_bucket`."""
    output_max: int | None
    """The client's limit on output tokens of all choices."""


class Prediction(msgspec.Struct, frozen=True):
    """What is expected of one backend. The cost is `usd_fixed + usd_per_byte * prompt bytes`."""

    usd_fixed: float | None
    """None: no price, or a machine's time that nothing is known of."""
    usd_per_byte: float
    is_machine: bool
    """Priced by the hour: shared with the requests served at once."""
    is_cost_known: bool
    """False: prior tokens at list price, good for ranking only."""
    latency_p50_s: float | None
    latency_p95_s: float | None
    latency_rank_s: float | None
    """At the quantile asked for."""
    latency_p_within: float | None
    prior: bool
    reason: str


class Cells(NamedTuple):
    """What was learned that bears on one inquiry, narrowest first."""

    task: Cell | None = None
    size: Cell | None = None
    backend: Cell | None = None


def size_bucket(prompt_bytes: int) -> int:
    """Prompt sizes by powers of four, from 512 bytes to a megabyte."""
    return min(max(prompt_bytes.bit_length() // 2, 5), 10)


def predict(facts: BackendFacts, inquiry: Inquiry, cells: Cells) -> Prediction:
    """What one backend will cost and take. Some 20 to 200 us: results are worth keeping."""
    tokens = _Tokens(facts, inquiry, cells)
    times, times_prior = _times(facts, inquiry, cells, tokens)
    busy_s, busy_prior = _busy(facts, cells, tokens)
    usd_fixed, usd_per_byte = _usd(facts.price, tokens, busy_s)
    is_machine = facts.price is not None and facts.price.per_hour is not None
    is_cost_known = usd_fixed is not None and (is_machine or tokens.is_known)
    cost_prior = busy_prior if is_machine else tokens.is_prior
    is_prior = times_prior or (is_cost_known and cost_prior)
    unknown = [] if is_cost_known else ["cost"]
    unknown += [] if times else ["latency"]
    budget_s = inquiry.question.budget_s
    return Prediction(
        usd_fixed=usd_fixed,
        usd_per_byte=usd_per_byte,
        is_machine=is_machine,
        is_cost_known=is_cost_known,
        latency_p50_s=times.quantile(0.5) if times else None,
        latency_p95_s=times.quantile(0.95) if times else None,
        latency_rank_s=times.quantile(inquiry.question.quantile) if times else None,
        latency_p_within=times.share_within(budget_s) if times and budget_s is not None else None,
        prior=is_prior,
        reason=_reason(facts, cells, unknown=unknown, is_prior=is_prior),
    )


# -- tokens --------------------------------------------------------------------------------------


class _Tokens:
    """Expected tokens of one answer, and where the figures are from."""

    def __init__(self, facts: BackendFacts, inquiry: Inquiry, cells: Cells) -> None:
        measured = _measured_mean(cells, lambda cell: cell.output)
        is_expected = facts.expect is not None and facts.expect.is_stated
        self.is_prior = measured is None
        self.is_known = measured is not None or is_expected
        output = measured if measured is not None else _output_prior(facts)
        self.output = _capped(output, inquiry.output_max)
        per_byte = _measured_mean(cells, lambda cell: cell.tokens_per_byte)
        self.per_byte = TOKENS_PER_BYTE_PRIOR if per_byte is None else per_byte
        self.cached_share = _measured_mean(cells, lambda cell: cell.cached) or 0.0


def _output_prior(facts: BackendFacts) -> float:
    if facts.expect is not None and facts.expect.completion_tokens is not None:
        return facts.expect.completion_tokens
    return COMPLETION_TOKENS_PRIOR + (REASONING_TOKENS_PRIOR if facts.is_reasoning else 0.0)


def _capped(tokens: float, limit: int | None) -> float:
    return tokens if limit is None else min(tokens, limit)


def _measured_mean(cells: Cells, of: Callable[[Cell], Mean]) -> float | None:
    """The mean in the narrowest cell that has enough samples of it."""
    for cell in (cells.task, cells.backend):
        if cell is not None and of(cell).count >= SAMPLES_MIN:
            return of(cell).value
    return None


# -- times ---------------------------------------------------------------------------------------


class _Points:
    """A distribution given by equally likely values."""

    def __init__(self, values: Sequence[float]) -> None:
        self._values = sorted(values)

    def quantile(self, quantile: float) -> float:
        return self._values[min(int(quantile * len(self._values)), len(self._values) - 1)]

    def share_within(self, limit: float) -> float:
        return bisect_right(self._values, limit) / len(self._values)


_Times = Sketch | _Points | None


def _times(
    facts: BackendFacts, inquiry: Inquiry, cells: Cells, tokens: _Tokens
) -> tuple[_Times, bool]:
    """The distribution of the time asked about, and whether `expect:` stands in."""
    if inquiry.question.of == "first_token":
        found: _Times = _enough([cell.first_token_s for cell in cells if cell is not None])
        prior = facts.expect.first_token_s if facts.expect else None
    else:
        found = _measured_total(inquiry, cells)
        prior = _total_prior(facts.expect, tokens.output)
    if found is not None:
        return found, False
    return (None, False) if prior is None else (_Points([prior]), True)


def _measured_total(inquiry: Inquiry, cells: Cells) -> _Times:
    if cells.task is not None and cells.task.total_s.count >= SAMPLES_MIN:
        return cells.task.total_s
    visible = _enough([cell.visible for cell in (cells.task, cells.backend) if cell is not None])
    for cell in (cells.size, cells.backend):
        if cell is not None:
            found = _composed_total(cell, visible, inquiry.output_max) or _enough([cell.total_s])
            if found is not None:
                return found
    return None


def _composed_total(cell: Cell, visible: Sketch | None, output_max: int | None) -> _Times:
    """TTFT + (tokens - 1) * gap, the three taken as independent."""
    if visible is None or min(cell.first_token_s.count, cell.gap_s.count) < SAMPLES_MIN:
        return None
    counts = [_capped(tokens, output_max) for tokens in visible.points(POINTS)]
    firsts, gaps = cell.first_token_s.points(POINTS), cell.gap_s.points(POINTS)
    return _Points(
        [
            first_s + max(0.0, count - 1) * gap_s
            for first_s, gap_s, count in product(firsts, gaps, counts)
        ]
    )


def _enough(sketches: Sequence[Sketch]) -> Sketch | None:
    """The first sketch with enough samples."""
    return next((sketch for sketch in sketches if sketch.count >= SAMPLES_MIN), None)


def _total_prior(expect: Expect | None, tokens: float) -> float | None:
    if expect is None or expect.first_token_s is None or not expect.tokens_per_second:
        return None
    return expect.first_token_s + max(0.0, tokens - 1) / expect.tokens_per_second


def _busy(facts: BackendFacts, cells: Cells, tokens: _Tokens) -> tuple[float | None, bool]:
    """Expected seconds a machine is kept busy, and whether `expect:` stands in."""
    measured = _measured_mean(cells, lambda cell: cell.total)
    if measured is not None:
        return measured, False
    return _total_prior(facts.expect, tokens.output), True


# -- money and words -----------------------------------------------------------------------------


def _usd(price: Price | None, tokens: _Tokens, busy_s: float | None) -> tuple[float | None, float]:
    """(fixed dollars, dollars per prompt byte)."""
    if price is None:
        return None, 0.0
    if price.per_hour is not None:
        return price.cost_usd(Usage(), busy_s=busy_s), 0.0
    if price.input is None or price.output is None:
        return None, 0.0
    cached = tokens.per_byte * tokens.cached_share
    per_byte = price.token_cost_usd(
        fresh=tokens.per_byte - cached,
        cached=cached,
        cache_write=0.0,
        output=0.0,
        input_price=price.input,
        output_price=price.output,
    )
    return tokens.output * price.output / TOKENS_PER_PRICE, per_byte


def _reason(facts: BackendFacts, cells: Cells, *, unknown: Sequence[str], is_prior: bool) -> str:
    samples = cells.backend.total_s.count if cells.backend else 0
    if unknown:
        why = "" if facts.price else ", no price"
        why += "" if facts.expect and facts.expect.is_stated else ", no expect"
        return f"unknown {' and '.join(unknown)}: {samples} of {SAMPLES_MIN} samples{why}"
    if is_prior:
        return f"prior: expect stands in, {samples} of {SAMPLES_MIN} samples"
    return f"measured: {samples} samples"
