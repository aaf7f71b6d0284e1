"""Where a request goes: the route that takes it, narrowed where its API asks for that, and on it
the backend that is chosen.

Most requests take their route as it is. A request that goes on from an earlier response belongs
to the backend that made it; one for vectors has only backends that give the same ones.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapters.splice import refuse_twice
from policies.affinity import Prefix
from policies.decide import decide
from policies.decision import Decision
from policies.fitted import PROMPT_BYTES_MAX
from policies.narrowing import interchangeable, pinned
from policies.route_match import RouteMatch
from policies.sticky import seed_of

from .errors import Shape
from .sticking import conversation_key, keep_to
from .wiring import Wiring

if TYPE_CHECKING:
    from .endpoints import Endpoint
    from .exchange import Exchange


def match_of(exchange: "Exchange", maker: str | None) -> RouteMatch | None:
    """The route of an exchange; None where its model is not known.

    `maker` is the backend that made what the request goes on from, where that is known.
    """
    features, wiring, endpoint = exchange.features, exchange.wiring, exchange.endpoint
    assert features is not None
    assert endpoint is not None
    match = wiring.policy.route_for(features.model, features.labels)
    if match is None:
        return None
    if features.previous_response_id is not None:
        return pinned_to(wiring, match, endpoint, maker)
    if endpoint.compares_vectors:
        return alike(wiring, match)
    return match if match.route.canary is None else exchange.plane.sides.place(exchange, match)


def decision_of(exchange: "Exchange", match: RouteMatch) -> Decision:
    """Who answers an exchange on the route that takes it."""
    key = None if match.route.sticky == "none" else conversation_key(exchange, match)
    if key is None:
        return _decided(exchange, match, exchange.ts_us)
    return keep_to(exchange, match, key, _decided(exchange, match, seed_of(key)))


def _decided(exchange: "Exchange", match: RouteMatch, seed: int) -> Decision:
    assert exchange.features is not None
    return decide(
        exchange.wiring.policy,
        match,
        exchange.features,
        exchange.plane.world,
        decision_id=exchange.id,
        seed=seed,
        acceptable=chances_of(exchange) if match.compiled.weighs_chances else None,
        prefix=prefix_of(exchange) if match.compiled.caches else None,
    )


def prefix_of(exchange: "Exchange") -> Prefix | None:
    """What a backend has read of the conversation before."""
    assert exchange.features is not None
    conversation = exchange.features.conversation
    return exchange.plane.prefixes.held(exchange.caller, conversation, exchange.arrival_s)


def chances_of(exchange: "Exchange") -> dict[str, float] | None:
    """P(acceptable answer) per backend, from the words of the request."""
    features, endpoint, fitted = exchange.features, exchange.endpoint, exchange.plane.fitted
    assert features is not None
    assert endpoint is not None
    if fitted.prompts is None or not endpoint.is_judged:
        return None
    return fitted.acceptable(asked_text(exchange), features.task)


def asked_text(exchange: "Exchange") -> str:
    """What is asked, as fitted models read it."""
    assert exchange.features is not None
    assert exchange.endpoint is not None
    if exchange.features.prompt_bytes > PROMPT_BYTES_MAX:
        return ""
    return exchange.endpoint.prompt_text(exchange.request)


def pinned_to(
    wiring: Wiring, match: RouteMatch, endpoint: "Endpoint", maker: str | None
) -> RouteMatch:
    """The route with `maker` alone; with its first backend that speaks the API where there is
    none any more, or never was."""
    if maker is None or maker not in wiring.targets:
        maker = first_speaking(wiring, match.route.candidates, endpoint.shape)
    key = (match.route.name, maker)
    found = wiring.narrowed.get(key)
    if found is None:
        found = wiring.narrowed[key] = pinned(match, maker, wiring.policy.backends)
    return found


def first_speaking(wiring: Wiring, names: Sequence[str], protocol: Shape) -> str:
    """The first of these backends that speaks `protocol`; else simply the first."""
    for name in names:
        if wiring.targets[name].protocol == protocol:
            return name
    return names[0]


def is_named_twice(body: bytes, name: str) -> bool:
    """The backend might read another value than we did."""
    try:
        refuse_twice(body, name)
    except ValueError:
        return True
    return False


def alike(wiring: Wiring, match: RouteMatch) -> RouteMatch:
    """The route with backends whose vectors compare."""
    key = (match.route.name, "")  # no backend's name
    found = wiring.narrowed.get(key)
    if found is None:
        found = wiring.narrowed[key] = interchangeable(match, wiring.policy.backends)
    return found
