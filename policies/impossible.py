"""Limits that no candidate can meet: refused where that is sure, said where it is only expected.

list price   one token in and one out is the least an answer can cost. Where that is above
             `require.cost` for every candidate, no request ever meets it: an error
expect       what the operator expects of each backend misses a limit everywhere: a warning,
             for what is measured may be better; until then `if_none` decides every request
"""

from collections.abc import Iterator, Mapping

from pointsman.decoding import Section
from pointsman.tokens import TOKENS_PER_PRICE

from .asked import Features
from .choice import World
from .compiled_route import compile_route, span_word, usd_word
from .decide import decide
from .facts import BackendFacts
from .learned import Learned
from .policy import Policy
from .route_match import RouteMatch
from .words import Route


def report_impossible(section: Section, policy: Policy) -> None:
    """Look at every route of a policy; `section` is `routes:`."""
    for route in policy.routes:
        inner = section.subsection(route.name)
        if inner is None or "require" not in inner:
            continue
        require = inner.subsection("require")
        assert require is not None  # it is there
        fault = _too_dear(route, policy.backends)
        if fault is not None:
            section.findings.error(require.at_key("cost"), fault)
            continue
        misses = list(_misses(route, policy))
        if len(misses) == len(route.candidates):
            told = "; ".join(misses)
            section.findings.warn(
                inner.at_key("require"),
                f"require: no candidate is expected to meet it, so if_none: {route.if_none}"
                f" decides until more is measured ({told})",
            )


def _too_dear(route: Route, backends: Mapping[str, BackendFacts]) -> str | None:
    limit = route.require.cost
    if limit is None:
        return None
    floors = [least_usd(backends[name]) for name in route.candidates]
    known = [floor for floor in floors if floor is not None]
    if len(known) < len(floors) or min(known) <= limit.max_usd:
        return None
    return (
        f"cost: {usd_word(limit.max_usd)} is less than one token in and one out cost at list price"
        f" ({usd_word(min(known))} at the cheapest candidate); no request can ever meet it"
    )


def least_usd(facts: BackendFacts) -> float | None:
    """What the shortest answer to the shortest question costs at list price; None: unknown, or a
    machine by the hour, whose time may be shared by any number of requests."""
    price = facts.price
    if price is None or price.per_hour is not None or price.input is None or price.output is None:
        return None
    return (price.input + price.output) / TOKENS_PER_PRICE


def _misses(route: Route, policy: Policy) -> Iterator[str]:
    """Every candidate that is expected to miss a limit, and how, for a short question."""
    compiled = compile_route(route, policy.backends)
    decision = decide(
        policy,
        RouteMatch(route, "name", compiled),
        SHORT,
        World(Learned(), certified=frozenset({route.name})),
        decision_id="check",
        seed=0,
    )
    for candidate in decision.candidates:
        if not candidate.eligible:
            latency = candidate.latency_p50_s
            takes = "" if latency is None else f", {span_word(latency)} expected"
            yield f"{candidate.backend}: {candidate.reason}{takes}"


SHORT = Features(
    model=None,
    labels={},
    labels_ignored=0,
    task="check",
    conversation="",
    user=None,
    prompt_bytes=100,
    max_tokens=None,
    is_stream=False,
    choices=1,
    has_tools=False,
    has_images=False,
    response_format=None,
    wants_logprobs=False,
    include_usage=False,
)
"""A question of a sentence; longer ones cost and take more."""
