"""A route's words worked out ahead, so that a decision only compares numbers.

`compile_route` runs when a policy is loaded. What follows a choice does not depend on the
request, so the plan after every possible choice is written down here too.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from .facts import BackendFacts
from .inquiry import LatencyQuestion
from .words import ConfidenceRule, Hedge, LatencyLimit, Require, Route

StepName = Literal["ask", "agree", "judge", "hedge", "escalate", "fallback"]

QUANTILE_DEFAULT = 0.95
"""Ranks `fastest` where no `require.latency` names a quantile: budgets are about tails."""


class PlanStep(msgspec.Struct, frozen=True):
    """One call that may happen, and on what condition."""

    step: StepName
    backend: str
    condition: str


class CompiledCandidate(msgspec.Struct, frozen=True):
    """A backend the first decision may take."""

    backend: str
    facts: BackendFacts
    is_reference_only: bool
    """Answers only while nothing is certified; not a candidate of its own."""


class CompiledRoute(msgspec.Struct, frozen=True):
    """See the module."""

    candidates: tuple[CompiledCandidate, ...]
    question: LatencyQuestion
    limits: str
    """The limits in words, `p90 200 ms and $0.004`; empty where there are none."""
    surest: tuple[str, ...]
    """The surest without labels, best first; after these comes the dearest."""
    plans: dict[str, tuple[PlanStep, ...]]
    """What happens from the first call on, by the backend chosen."""
    fallbacks: tuple[CompiledCandidate, ...] = ()
    """Of `on_failure` and no candidates: taken where every candidate is out of order."""
    machines: tuple[str, ...] = ()
    """Candidates priced by the hour: what one request costs there depends on the load."""
    timed: tuple[str, ...] = ()
    """All candidates, where how long they take can change the choice: that depends on the load."""
    caches: bool = False
    """Who has read a conversation's beginning can be cheaper for it, and another be chosen."""
    weighs_chances: bool = False
    """A request's own chances of an acceptable answer can change the choice."""
    hedge_after: tuple[LatencyQuestion, LatencyQuestion] | None = None
    """When a second attempt is due: by the first token, and by the whole answer."""


def compile_route(route: Route, backends: Mapping[str, BackendFacts]) -> CompiledRoute:
    """Work out a route. Every name it uses must exist in `backends`."""
    reference = route.require.error.reference if route.require.error else None
    names = list(route.candidates)
    if reference is not None and reference not in names:
        names.append(reference)
    fallbacks = [name for name in route.on_failure if name not in names]
    return CompiledRoute(
        candidates=tuple(
            CompiledCandidate(name, backends[name], name not in route.candidates) for name in names
        ),
        question=_question(route.require.latency),
        limits=describe_limits(route.require),
        surest=_surest(route, reference),
        plans={name: _plan(route, name) for name in (*names, *fallbacks)},
        fallbacks=tuple(CompiledCandidate(name, backends[name], False) for name in fallbacks),
        machines=tuple(name for name in names if _is_machine(backends[name])),
        timed=tuple(names) if _is_timed(route) else (),
        caches=len(names) > 1 and any(_is_cheaper_cached(backends[name]) for name in names),
        weighs_chances=_weighs_chances(route),
        hedge_after=_hedge_after(route.hedge),
    )


def _is_cheaper_cached(facts: BackendFacts) -> bool:
    price = facts.price
    if price is None or price.input is None or price.cached_input is None:
        return False
    return price.cached_input < price.input


def _is_timed(route: Route) -> bool:
    weights = route.weights
    is_weighed = weights is not None and weights.late_usd > 0
    return route.require.latency is not None or route.prefer == "fastest" or is_weighed


def _weighs_chances(route: Route) -> bool:
    """`if_none: surest` keeps to the operator's order."""
    if route.require.error is not None and route.require.error.gain is not None:
        return True
    weights = route.weights
    return route.prefer == "surest" or (weights is not None and weights.error_usd > 0)


def _is_machine(facts: BackendFacts) -> bool:
    return facts.price is not None and facts.price.per_hour is not None


def describe_limits(require: Require) -> str:
    """`p90 200 ms and $0.004`, in the operator's units."""
    words = []
    if require.latency is not None:
        words.append(
            f"{quantile_word(require.latency.quantile)} {span_word(require.latency.budget_s)}"
        )
    if require.cost is not None:
        words.append(usd_word(require.cost.max_usd))
    return " and ".join(words)


def quantile_word(quantile: float) -> str:
    """0.9 -> `p90`."""
    return f"p{quantile * 100:.6g}"


def span_word(span_s: float) -> str:
    """0.2 -> `200 ms`, 1.5 -> `1.5 s`."""
    return f"{span_s * 1000:.3g} ms" if span_s < 0.9995 else f"{span_s:.3g} s"


def usd_word(amount_usd: float) -> str:
    """0.004 -> `$0.004`, to three significant figures and never in powers of ten."""
    if amount_usd == 0 or amount_usd >= 100:
        return f"${amount_usd:.2f}"
    decimals = 2
    while round(amount_usd, decimals) < 10 ** (2 - decimals) and decimals < 12:
        decimals += 1
    text = f"{amount_usd:.{decimals}f}".rstrip("0").rstrip(".")
    return f"${text}"


def _question(limit: LatencyLimit | None) -> LatencyQuestion:
    if limit is None:
        return LatencyQuestion("total", QUANTILE_DEFAULT, None)
    return LatencyQuestion(limit.of, limit.quantile, limit.budget_s)


def _hedge_after(hedge: Hedge | None) -> tuple[LatencyQuestion, LatencyQuestion] | None:
    if hedge is None or hedge.after_quantile is None:
        return None
    quantile = hedge.after_quantile
    return LatencyQuestion("first_token", quantile, None), LatencyQuestion("total", quantile, None)


def _surest(route: Route, reference: str | None) -> tuple[str, ...]:
    named = [reference] if reference else []
    if route.escalate is not None:
        named += reversed(route.escalate.to)
    return tuple(dict.fromkeys(named))


def _plan(route: Route, chosen: str) -> tuple[PlanStep, ...]:
    steps = [PlanStep("ask", chosen, "first")]
    if route.hedge is not None:
        steps.append(_hedge(route, route.hedge, chosen))
    if route.confidence is not None:
        steps += _asides(route.confidence, chosen)
    if route.escalate is not None and route.confidence is not None:
        steps += _escalations(route, chosen)
    steps += [
        PlanStep("fallback", backend, "error or timeout before the first byte")
        for backend in _others(route.on_failure, chosen)
    ]
    return tuple(steps)


def _hedge(route: Route, hedge: Hedge, chosen: str) -> PlanStep:
    """Which candidate it will be is for that moment to say; the first other one stands here."""
    if hedge.after_quantile is not None:
        after = f"its own {quantile_word(hedge.after_quantile)}"
    else:
        after = span_word(hedge.after_s or 0.0)
    backend = next(iter(_others(route.candidates, chosen)), chosen)
    return PlanStep("hedge", backend, f"nothing of the answer after {after}; next eligible first")


def _asides(rule: ConfidenceRule, chosen: str) -> list[PlanStep]:
    """Who is asked about an answer; see proxy/opinions.py."""
    steps = []
    if rule.agree_with is not None and rule.agree_with != chosen:
        condition = "beside the first; two answers of one value are accepted"
        steps.append(PlanStep("agree", rule.agree_with, condition))
    if rule.judge is not None:
        steps.append(PlanStep("judge", rule.judge, "confidence not decided by all else"))
    return steps


def _escalations(route: Route, chosen: str) -> list[PlanStep]:
    escalate, confidence = route.escalate, route.confidence
    assert escalate is not None
    assert confidence is not None
    accept = confidence.accept
    limit = "the calibrated threshold" if isinstance(accept, str) else f"{accept:g}"
    condition = f"confidence below {limit}"
    if escalate.within_s is not None:
        condition += f", within {span_word(escalate.within_s)} of arrival"
    targets = list(_others(escalate.to, chosen))[: escalate.max_steps]
    return [PlanStep("escalate", backend, condition) for backend in targets]


def _others(names: Iterable[str], chosen: str) -> Iterable[str]:
    return (name for name in names if name != chosen)
