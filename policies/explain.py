"""A decision as plain JSON data, in the one shape that CLI, admin port and store share."""

from .choice import Candidate
from .compiled_route import PlanStep
from .decision import Decision

USD_DECIMALS = 9  # a thousandth of a millionth of a dollar: less than one cheap token

Json = dict[str, object]


def decision_json(decision: Decision) -> Json:
    """The decision as `explain --json` and `/decisions/{id}` print it. Latencies in ms."""
    return {
        "decision_id": decision.decision_id,
        "route": decision.route.name,
        "policy": decision.policy,
        "chosen": decision.chosen,
        "reason": decision.reason,
        "candidates": [candidate_json(candidate) for candidate in decision.candidates],
        "plan": [plan_json(step) for step in decision.plan],
    }


def candidate_json(candidate: Candidate) -> Json:
    """One candidate; null is unknown."""
    return {
        "backend": candidate.backend,
        "eligible": candidate.eligible,
        "cost_usd": _rounded(candidate.cost_usd, USD_DECIMALS),
        "latency_ms": {
            "p50": _ms(candidate.latency_p50_s),
            "p95": _ms(candidate.latency_p95_s),
        },
        "latency_p_within": _rounded(candidate.latency_p_within, 6),
        "p_acceptable": candidate.p_acceptable,
        "propensity": candidate.propensity,
        "prior": candidate.prior,
        "reason": candidate.reason,
    }


def plan_json(step: PlanStep) -> Json:
    """One step that may follow."""
    return {"step": step.step, "backend": step.backend, "condition": step.condition}


def _ms(span_s: float | None) -> float | None:
    return None if span_s is None else round(span_s * 1000, 3)


def _rounded(value: float | None, decimals: int) -> float | None:
    return None if value is None else round(value, decimals)
