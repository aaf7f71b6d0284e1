"""Who is best under `prefer`: the route's order breaks ties, unknown comes last."""

import math
from functools import partial

from .compiled_route import CompiledRoute
from .view import View
from .words import Preference, Weights


def best(
    prefer: Preference, compiled: CompiledRoute, views: list[View], weights: Weights | None
) -> View:
    """The best of `views`; the route's order breaks ties, unknown comes last."""
    if len(views) == 1:
        return views[0]
    if prefer == "fastest":
        return min(views, key=_rank_latency)
    if prefer == "surest":
        return _surest(compiled, views)
    if prefer == "weighted" and weights is not None:
        return min(views, key=partial(_rank_weighted, weights))
    return min(views, key=_rank_cost)


def _surest(compiled: CompiledRoute, views: list[View]) -> View:
    """The one most likely acceptable where that is known of all, else in the operator's order."""
    chances = [view.acceptable for view in views if view.acceptable is not None]
    if len(chances) == len(views):
        return views[chances.index(max(chances))]
    for name in compiled.surest:
        for view in views:
            if view.backend == name:
                return view
    return max(views, key=lambda view: -1.0 if view.rank_usd is None else view.rank_usd)


def _rank_latency(view: View) -> float:
    rank_s = view.prediction.latency.rank_s
    return math.inf if rank_s is None else rank_s


def _rank_cost(view: View) -> float:
    return math.inf if view.rank_usd is None else view.rank_usd


def _rank_weighted(weights: Weights, view: View) -> float:
    """Dollars of the call and of what may go wrong. What is unknown adds nothing: to all alike
    while nothing is known of any, and to one that is not yet known it gives a first chance.
    """
    within = view.prediction.latency.p_within
    worth_usd = 0.0 if within is None else weights.late_usd * (1.0 - within)
    if view.acceptable is not None:
        worth_usd += weights.error_usd * (1.0 - view.acceptable)
    return _rank_cost(view) + worth_usd
