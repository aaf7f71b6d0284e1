"""Probes: the examples in a policy, each run in the world it states and in no other.

A probe inherits what its route's `match` asks for, so it names only what it is about. It
passes when its route takes the request and the decision ends as expected; `check` and every
reload run them all.
"""

from collections.abc import Iterator

import msgspec

from pointsman.tokens import Usage

from .asked import Features
from .choice import World
from .compiled_route import compile_route
from .decide import decide
from .decision import Decision
from .facts import BackendFacts
from .features import read_features
from .glob import example
from .inquiry import SAMPLES_MIN
from .learned import Learned, Observation
from .policy import Policy
from .request import ChatRequest
from .route_match import RouteMatch
from .words import Probe, ProbeWorld, Route

PROBE_TASK = "probe"


class ProbeResult(msgspec.Struct, frozen=True):
    """How one probe ended, and where it stands. `message` says what it got instead."""

    route: str
    file: str
    line: int
    column: int
    is_ok: bool
    message: str


def run_probes(policy: Policy) -> list[ProbeResult]:
    """Run every probe of every route, in the file's order."""
    return [_run(policy, route, probe) for route in policy.routes for probe in route.probes]


def _run(policy: Policy, route: Route, probe: Probe) -> ProbeResult:
    fault = _fault(policy, route, probe)
    return ProbeResult(
        route.name, probe.file, probe.line, probe.column, fault is None, fault or "ok"
    )


def _fault(policy: Policy, route: Route, probe: Probe) -> str | None:
    """What went otherwise than expected."""
    features = probe_features(route, probe)
    match = policy.route_for(features.model, features.labels)
    if match is None:
        return f"model {features.model!r} is not known"
    if match.route.name != route.name:
        return f"goes to route {match.route.name!r}, not {route.name!r}"
    world = probe_world(policy, route, probe.world)
    decision = decide(
        policy, _without_draw(policy, match), features, world, decision_id="probe", seed=0
    )
    return _difference(probe, decision)


def _without_draw(policy: Policy, match: RouteMatch) -> RouteMatch:
    """What is drawn to explore is chance: a probe is about what is preferred."""
    if match.route.explore is None:
        return match
    route = msgspec.structs.replace(match.route, explore=None)
    return RouteMatch(route, match.by, compile_route(route, policy.backends))


def _difference(probe: Probe, decision: Decision) -> str | None:
    expected = probe.expect
    got = f"{decision.chosen or 'a refusal'} ({decision.reason})"
    if expected.rejected is not None and expected.rejected != (decision.chosen is None):
        return f"expected {'a refusal' if expected.rejected else 'an answer'}, got {got}"
    if expected.backend is not None and expected.backend != decision.chosen:
        return f"expected {expected.backend}, got {got}"
    return None


def probe_features(route: Route, probe: Probe) -> Features:
    """The features of the request a probe stands for."""
    content = msgspec.json.encode([{"role": "user", "content": probe.prompt}])
    request = ChatRequest(
        model=probe.model or _model_of(route),
        messages=msgspec.Raw(content),
        max_tokens=probe.max_tokens,
    )
    return read_features(
        request,
        body_bytes=len(content),
        label_headers={**_labels_of(route), **probe.labels},
        conversation_header=None,
        caller=None,
    )


def probe_world(policy: Policy, route: Route, stated: ProbeWorld) -> World:
    """The world a probe states: as if each figure had been measured often enough."""
    learned = Learned()
    for facts in policy.backends.values():
        for observation in _observations(facts, stated):
            learned.observe(observation, now_s=0.0)
    return World(
        learned,
        in_flight=stated.in_flight,
        unavailable=dict.fromkeys(stated.unavailable, "stated by the probe"),
        certified=frozenset({route.name}) if stated.certified else frozenset(),
    )


def _observations(facts: BackendFacts, stated: ProbeWorld) -> Iterator[Observation]:
    tokens = stated.tokens.get(facts.name)
    latency_s = stated.latency_s.get(facts.name)
    first_token_s = stated.first_token_s.get(facts.name)
    if tokens is None and latency_s is None and first_token_s is None:
        return
    usage = Usage(completion=None if tokens is None else round(tokens))
    for _ in range(SAMPLES_MIN):
        yield Observation(facts.name, PROBE_TASK, 0, usage, first_token_s, latency_s, True)


def _model_of(route: Route) -> str:
    """A model name the route's match takes: its first pattern, stars left out."""
    models = route.match.models if route.match is not None else ()
    return example(models[0]) if models else route.name


def _labels_of(route: Route) -> dict[str, str]:
    labels = route.match.labels if route.match is not None else ()
    return {name: example(values[0]) for name, values in labels}
