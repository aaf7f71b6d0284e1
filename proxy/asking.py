"""An attempt made ready: what one backend will be sent for an exchange."""

from typing import TYPE_CHECKING

from adapters.adapter import Wanted
from policies.step import OutcomeKind

from .attempt import Attempt

if TYPE_CHECKING:
    from .exchange import Exchange


def make_attempt(exchange: "Exchange", name: str, kind: OutcomeKind) -> Attempt:
    """The next attempt of an exchange, at backend `name`.

    Raises adapters.splice.DuplicateMember where the body holds an edited member twice.
    """
    features, decision, body = exchange.features, exchange.decision, exchange.body
    endpoint = exchange.endpoint
    assert endpoint is not None
    assert features is not None
    assert decision is not None
    assert body is not None
    route, head = decision.route, exchange.head
    target = exchange.wiring.targets[name]
    wants_logprobs = (
        endpoint.adds_logprobs
        and route.confidence is not None
        and "logprobs" in route.confidence.signals
        and target.backend.has_logprobs
        and not features.wants_logprobs
        and not (features.has_tools and features.is_stream)  # llama.cpp refuses these together
    )
    includes_usage = features.include_usage or not endpoint.adds_usage
    wanted = Wanted(features.model, features.is_stream, includes_usage, wants_logprobs)
    return Attempt(
        exchange,
        target,
        target.prepare(
            body,
            wanted,
            header_lines=head.upstream_lines(target.to_upstream),
            query=head.query,
            path=endpoint.path,
        ),
        endpoint.make_reader(features.choices, route.confidence is not None),
        kind=kind,
        is_held=route.hold != "none",
        loop=exchange.plane.loop,
    )
