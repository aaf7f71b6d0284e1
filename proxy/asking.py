"""An attempt made ready: what one backend will be sent for an exchange."""

from typing import TYPE_CHECKING, Final

from adapters.adapter import RequestRefused
from adapters.backend import Protocol
from adapters.edits import Wanted
from policies.judge_question import judge_body
from policies.step import AsideKind, OutcomeKind

from . import holding
from .attempt import Attempt
from .endpoints import CHAT, MESSAGES
from .owner import Owner

if TYPE_CHECKING:
    from .exchange import Exchange


JUDGE_LINES: Final = b"content-type: application/json\r\naccept: application/json\r\n"
"""A judge is asked by us: nothing of the client's own lines goes with it."""


def make_attempt(
    exchange: "Exchange",
    name: str,
    kind: OutcomeKind | AsideKind,
    *,
    owner: Owner | None = None,
) -> Attempt:
    """The next attempt of an exchange, at backend `name`; `owner` is told of it in its stead.

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
    attempt = Attempt(
        exchange if owner is None else owner,
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
        is_held=owner is not None or (route.hold != "none" and holding.is_held(route)),
        loop=exchange.plane.loop,
    )
    if route.hold != "none" and features.is_stream and owner is None:
        holding.watch(exchange, attempt)
    return attempt


def make_judge(exchange: "Exchange", name: str, about: Attempt, *, owner: Owner) -> Attempt | None:
    """A question to backend `name` about an answer; None where it cannot be put."""
    endpoint, target = exchange.endpoint, exchange.wiring.targets[name]
    assert endpoint is not None
    if about.reader.text is None:
        return None  # a call of tools, say
    asked = CHAT if target.protocol == "openai" else MESSAGES
    body = judge_body(
        endpoint.prompt_text(exchange.request),
        about.reader.text,
        model=target.backend.model,
        protocol=target.protocol,
        is_reasoning=target.backend.is_reasoning,
    )
    if body is None:
        return None
    wanted = Wanted(target.backend.model, False, True, False)
    try:
        prepared = target.prepare(body, wanted, header_lines=JUDGE_LINES, path=asked.path)
    except (RequestRefused, ValueError):
        return None
    return Attempt(
        owner,
        target,
        prepared,
        asked.make_reader(1, True),
        kind="judge",
        is_held=True,
        loop=exchange.plane.loop,
    )


_PLACES: Final[dict[Protocol, str]] = {
    "anthropic": "Anthropic's protocol; send it to /v1/messages.",
    "openai": "OpenAI's protocol; send it to /v1/chat/completions.",
}


def _not_translated(protocol: Protocol) -> RequestRefused:
    """Requests go on in the protocol they came in, or not at all."""
    message = f"This model is served in {_PLACES[protocol]}"
    return RequestRefused(message, param="model", code="unsupported_protocol")
