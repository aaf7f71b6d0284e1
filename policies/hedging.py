"""When a request is sent a second time although nothing has failed, and where to.

    when     after a quantile of its backend's own times, as they are now: to the first token of a
             stream that is shown as it comes, else to the whole answer. Unknown is never
    where    the candidate that would be chosen without the first, else the same backend
    not      to a backend that is out of order, nor where the time left is less than it takes

How often is for hedge_budget.py to say.
"""

from collections.abc import Collection, Mapping

from .asked import Features
from .choice import Candidate, World
from .compiled_route import CompiledRoute
from .decide import alternative, output_max, rounded_bytes
from .decision import Decision
from .facts import BackendFacts
from .inquiry import Inquiry, size_bucket
from .learned import Learned
from .route_match import RouteMatch


def wait_s(match: RouteMatch, chosen: str, features: Features, learned: Learned) -> float | None:
    """Seconds from the first attempt to the second; None where that is not known, or never."""
    rule, questions = match.route.hedge, match.compiled.hedge_after
    if rule is None:
        return None
    facts = _facts(match.compiled, chosen)
    if questions is None or facts is None:
        return rule.after_s
    is_shown_at_once = features.is_stream and match.route.hold == "none"
    inquiry = Inquiry(
        questions[0] if is_shown_at_once else questions[1],
        features.task,
        size_bucket(rounded_bytes(features.prompt_bytes)),
        output_max(features),
    )
    latency = learned.predict(facts, inquiry).latency
    return None if latency.is_prior else latency.rank_s


def whom(
    match: RouteMatch,
    decision: Decision,
    features: Features,
    world: World,
    *,
    unaffordable: Collection[str],
    time_left_s: float,
) -> Candidate | None:
    """Who gets the second attempt of a request that was sent to the one chosen."""
    chosen = decision.chosen
    if chosen is None:
        return None
    unavailable: Mapping[str, str] = world.unavailable
    if unaffordable:
        unavailable = {**unavailable, **dict.fromkeys(unaffordable, "the retry budget is spent")}
    found = alternative(match, features, world, besides=chosen, unavailable=unavailable)
    if found is None and chosen not in unavailable:
        found = next((one for one in decision.candidates if one.backend == chosen), None)
    if found is None or time_left_s <= (found.latency_p50_s or 0.0):
        return None
    return found


def cost_usd(decision: Decision) -> float | None:
    """What the one chosen is expected to cost; None where it is unknown."""
    for candidate in decision.candidates:
        if candidate.backend == decision.chosen:
            return candidate.cost_usd
    return None


def _facts(compiled: CompiledRoute, name: str) -> BackendFacts | None:
    for candidate in (*compiled.candidates, *compiled.fallbacks):
        if candidate.backend == name:
            return candidate.facts
    return None
