"""An attempt made ready: what one backend will be sent for an exchange."""

from typing import TYPE_CHECKING

from adapters.adapter import RequestRefused
from adapters.backend import Protocol
from adapters.edits import Wanted
from policies.step import OutcomeKind

from .attempt import Attempt

if TYPE_CHECKING:
    from .exchange import Exchange


def make_attempt(exchange: "Exchange", name: str, kind: OutcomeKind) -> Attempt:
    """The next attempt of an exchange, at backend `name`.

    Raises adapters.splice.DuplicateMember where the body holds an edited member twice, and
    RequestRefused where this backend must not be asked this.
    """
    features, decision, body = exchange.features, exchange.decision, exchange.body
    endpoint = exchange.endpoint
    assert endpoint is not None
    assert features is not None
    assert decision is not None
    assert body is not None
    route, head = decision.route, exchange.head
    target = exchange.wiring.targets[name]
    if target.protocol != endpoint.shape:
        raise _not_translated(target.protocol)
    wants_logprobs = (
        endpoint.adds_logprobs
        and route.confidence is not None
        and "logprobs" in route.confidence.signals
        and target.backend.has_logprobs
        and not features.wants_logprobs
        and not (features.has_tools and features.is_stream)  # llama.cpp refuses these together
    )
    includes_usage = features.include_usage or not endpoint.adds_usage
    keeps_text = not (route.confidence is None and route.shadow is None and route.canary is None)
    model = target.backend.model if features.model is None else features.model  # none put in
    wanted = Wanted(model, features.is_stream, includes_usage, wants_logprobs)
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
        endpoint.make_reader(features.choices, keeps_text),
        kind=kind,
        is_held=route.hold != "none",
        loop=exchange.plane.loop,
    )


_PLACES: dict[Protocol, str] = {
    "anthropic": "Anthropic's protocol; send it to /v1/messages.",
    "openai": "OpenAI's protocol; send it to /v1/chat/completions.",
}


def _not_translated(protocol: Protocol) -> RequestRefused:
    """Requests go on in the protocol they came in, or not at all."""
    message = f"This model is served in {_PLACES[protocol]}"
    return RequestRefused(message, param="model", code="unsupported_protocol")
