"""A stream that waits for its confidence, as it comes: when it may flow, when it is aborted.

One `Gate` watches one held stream. It lets it flow once its first tokens are trusted, and ends an
answer without hope where another backend can still be asked: the money and the time that the
rest would cost are better spent there.
"""

from typing import TYPE_CHECKING

from policies.outlook import Watched, outlook, watched_in
from policies.steps import HOPELESS
from policies.words import Route

from .attempt import Attempt
from .judging import would_escalate

if TYPE_CHECKING:
    from .exchange import Exchange


def is_held(route: Route) -> bool:
    """Whether answers of this route wait: tokens only where they have a confidence to wait for."""
    return route.hold == "all" or (route.hold != "none" and route.confidence is not None)


def watch(exchange: "Exchange", attempt: Attempt) -> None:
    """Watch the stream of a held attempt, where its route has something to look for."""
    decision, endpoint = exchange.decision, exchange.endpoint
    assert decision is not None
    assert endpoint is not None
    if decision.route.confidence is None or not endpoint.is_judged:
        return
    has_schema = endpoint.response_schema(exchange.request) is not None
    watched = watched_in(decision.route, has_schema=has_schema)
    if watched is not None:
        attempt.gate = Gate(exchange, watched)


class Gate:
    """Asked with every piece of one stream; see the module."""

    __slots__ = ("_exchange", "_next_tokens", "_watched")

    def __init__(self, exchange: "Exchange", watched: Watched) -> None:
        self._exchange = exchange
        self._watched = watched
        self._next_tokens = 1

    def __call__(self, attempt: Attempt) -> bool:
        """Whether the stream is held on. Ends the attempt where it has no hope."""
        reader = attempt.reader
        if reader.is_complete or reader.tokens_seen < self._next_tokens:
            return True  # what is whole is judged as a whole in a moment
        found = outlook(
            self._watched,
            tokens=reader.tokens_seen,
            logprobs=reader.token_logprobs or (),
            opening=reader.text or "",
        )
        self._next_tokens = found.next_tokens
        if found.word == "wait":
            return True
        attempt.confidence = attempt.raw_confidence = found.confidence
        if found.word == "hopeless" and would_escalate(self._exchange, attempt):
            attempt.is_innocent = True
            attempt.abort(HOPELESS, "its answer would not have been accepted")
            self._exchange.attempt_ended(attempt)
            return True
        return self._watched.flow_tokens is None
