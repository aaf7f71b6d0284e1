"""What a backend's answer will cost and how long it will take, from what was seen of it.

Every quantity backs off from the narrowest cell with enough samples to the next:

    (backend, task) -> (backend, prompt size; times only) -> backend -> `expect:` -> unknown

Unknown is None, never zero, and fails no limit.
"""

import msgspec

from pointsman.tokens import TOKENS_PER_PRICE, Price, Usage

from .facts import BackendFacts
from .inquiry import SAMPLES_MIN, Cells, Inquiry, measured_mean
from .latency_estimate import LatencyEstimate, estimate_latency, expected_total_s
from .token_estimate import TokenEstimate, estimate_tokens


class CostEstimate(msgspec.Struct, frozen=True):
    """Dollars of one request: `fixed_usd + per_byte_usd * prompt bytes`."""

    fixed_usd: float | None = None
    """None: no price, or a machine's time that nothing is known of."""
    per_byte_usd: float = 0.0
    spare_usd: float = 0.0
    """What of `fixed_usd` is assumed tokens beyond a short answer; a limit does not count it."""
    is_machine: bool = False
    """Priced by the hour: shared with the requests served at once."""
    is_known: bool = False
    """False: prior tokens at list price, good for ranking only."""
    is_prior: bool = False
    tokens_per_byte: float = 0.0
    cached_share: float = 0.0
    """Of the prompt's tokens, as measured; what a conversation's own prefix adds is affinity's."""
    cached_spare_usd: float = 0.0
    """What one token costs less from the cache; 0 where it costs the same, or nobody said."""


class Prediction(msgspec.Struct, frozen=True):
    """What is expected of one backend."""

    cost: CostEstimate
    latency: LatencyEstimate
    prior: bool
    """`expect:` stands in for the cost or the latency."""
    reason: str


def predict(facts: BackendFacts, inquiry: Inquiry, cells: Cells) -> Prediction:
    """What one backend will cost and take. 20 to 200 us, so the result is worth keeping."""
    tokens = estimate_tokens(facts, inquiry, cells)
    latency = estimate_latency(facts.expect, inquiry, cells, tokens)
    cost = _estimate_cost(facts, cells, tokens)
    return Prediction(
        cost,
        latency,
        cost.is_prior or latency.is_prior,
        _reason(facts, cells, tokens, cost, latency),
    )


def _estimate_cost(facts: BackendFacts, cells: Cells, tokens: TokenEstimate) -> CostEstimate:
    price = facts.price
    if price is None:
        return CostEstimate()
    if price.per_hour is not None:
        return _machine_cost(price, facts, cells, tokens)
    if price.input is None or price.output is None:
        return CostEstimate()
    is_expected = facts.expect is not None and facts.expect.is_stated
    fixed_usd = tokens.output * price.output / TOKENS_PER_PRICE
    return CostEstimate(
        fixed_usd=fixed_usd,
        per_byte_usd=_usd_per_byte(price, tokens, price.input, price.output),
        spare_usd=fixed_usd - tokens.output_least * price.output / TOKENS_PER_PRICE,
        is_known=tokens.is_measured or is_expected,
        is_prior=not tokens.is_measured and is_expected,
        tokens_per_byte=tokens.per_byte,
        cached_share=tokens.cached_share,
        cached_spare_usd=cached_spare_usd(price),
    )


def cached_spare_usd(price: Price) -> float:
    """What one token of a prompt costs less where it is read from the cache."""
    if price.input is None or price.cached_input is None:
        return 0.0
    return max(0.0, price.input - price.cached_input) / TOKENS_PER_PRICE


def _usd_per_byte(
    price: Price, tokens: TokenEstimate, input_price: float, output_price: float
) -> float:
    cached = tokens.per_byte * tokens.cached_share
    return price.token_cost_usd(
        fresh=tokens.per_byte - cached,
        cached=cached,
        cache_write=0.0,
        output=0.0,
        input_price=input_price,
        output_price=output_price,
    )


def _machine_cost(
    price: Price, facts: BackendFacts, cells: Cells, tokens: TokenEstimate
) -> CostEstimate:
    """A machine by the hour costs the seconds it is kept busy."""
    measured_s = measured_mean(cells, lambda cell: cell.total)
    busy_s, least_s = measured_s, measured_s
    if measured_s is None:
        busy_s = expected_total_s(facts.expect, tokens.output)
        least_s = expected_total_s(facts.expect, tokens.output_least)
    fixed_usd = price.cost_usd(Usage(), busy_s=busy_s)
    least_usd = price.cost_usd(Usage(), busy_s=least_s)
    if fixed_usd is None or least_usd is None:
        return CostEstimate(is_machine=True)
    return CostEstimate(
        fixed_usd=fixed_usd,
        spare_usd=fixed_usd - least_usd,
        is_machine=True,
        is_known=True,
        is_prior=measured_s is None,
    )


def _reason(
    facts: BackendFacts,
    cells: Cells,
    tokens: TokenEstimate,
    cost: CostEstimate,
    latency: LatencyEstimate,
) -> str:
    """Where the figures are from, in words."""
    samples = cells.backend.total_s.count if cells.backend is not None else 0
    seen = f"{samples} of {SAMPLES_MIN} samples"
    unknown = [] if cost.is_known else ["cost"]
    unknown += [] if latency.p50_s is not None else ["latency"]
    if unknown:
        missing = "" if facts.price is not None else ", no price"
        missing += "" if facts.expect is not None and facts.expect.is_stated else ", no expect"
        return f"unknown {' and '.join(unknown)}: {seen}{missing}"
    if cost.is_prior or latency.is_prior:
        assumed = f", {tokens.output:.0f} tokens assumed" if tokens.is_assumed else ""
        return f"prior: expect stands in, {seen}{assumed}"
    return f"measured: {samples} samples"
