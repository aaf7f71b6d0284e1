"""What conversations stay with, remembered by every worker alike.

    decide     the conversation's first request is decided, its draw by the conversation's own
               seed; what was chosen is held from then on
    tell       other workers hear of it through the keeper before a backend has answered, so that
               the next request may come to any of them
    end        whoever answered in the end, if the route has it among its candidates, is who the
               conversation goes on with

The oldest are forgotten first and decided anew, by the same draw. A reload forgets nothing: what is
no candidate any more is left then, with the reason in the decision.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from policies.decision import Decision
from policies.route_match import RouteMatch
from policies.sticky import Held, held_by, key_of, stay

from .control import Conversations

if TYPE_CHECKING:
    from .attempt import Attempt
    from .exchange import Exchange

CONVERSATIONS_MAX: Final = 50_000
"""Remembered by a worker, and by the keeper; 8 MB."""
KINDS_MAX: Final = 1024
"""Different things to stay with, shared by those who do; more are not shared."""

Tell = Callable[[Conversations], bool]


class Memory:
    """Of one process."""

    def __init__(self) -> None:
        self._held: dict[bytes, Held] = {}
        self._kinds: dict[Held, Held] = {}
        self._tell: Tell = lambda news: False

    def __len__(self) -> int:
        return len(self._held)

    def through(self, tell: Tell) -> None:
        """Tell the others by `tell` (False where the keeper is away)."""
        self._tell = tell

    def find(self, key: bytes) -> Held | None:
        """What a conversation stays with; it was spoken of now."""
        held = self._held.pop(key, None)
        if held is not None:
            self._held[key] = held
        return held

    def hold(self, key: bytes, held: Held) -> None:
        """Remember it, and say so where that is news."""
        if self._held.get(key) != held:
            self.hear(((key, held),))
            self._tell(Conversations([(key, held)]))

    def hear(self, entries: Iterable[tuple[bytes, Held]]) -> None:
        """What was decided elsewhere."""
        for key, held in entries:
            if len(self._kinds) < KINDS_MAX:
                held = self._kinds.setdefault(held, held)
            self._held.pop(key, None)
            if len(self._held) >= CONVERSATIONS_MAX:
                del self._held[next(iter(self._held))]
            self._held[key] = held

    def all(self) -> Conversations:
        """For who has just come."""
        return Conversations(list(self._held.items()))


def conversation_key(exchange: "Exchange", match: RouteMatch) -> bytes | None:
    """The conversation of an exchange; None where its backend is told by what it goes on from."""
    features = exchange.features
    assert features is not None
    if features.previous_response_id is not None:
        return None
    return key_of(match.route.name, exchange.caller, features.conversation)


def keep_to(exchange: "Exchange", match: RouteMatch, key: bytes, decision: Decision) -> Decision:
    """The decision as the conversation has it, which is held from now on."""
    memory = exchange.plane.conversations
    decision, exchange.is_sticky = stay(decision, memory.find(key), match.compiled.plans)
    exchange.conversation_key = key
    held = None if exchange.is_sticky else held_by(decision)
    if held is not None:
        memory.hold(key, held)
    return decision


def go_on_with(exchange: "Exchange", won: "Attempt") -> None:
    """Whoever goes on from this answer goes on with the backend that made it."""
    decision, key, name = exchange.decision, exchange.conversation_key, won.backend.name
    endpoint, response_id = exchange.endpoint, won.reader.response_id
    if response_id is not None and endpoint is not None and endpoint.keeps_responses:
        exchange.plane.pins.remember(response_id, exchange.caller, name)
    if key is None or decision is None or won.failure is not None or name == decision.chosen:
        return
    if name in decision.route.candidates:
        exchange.plane.conversations.hold(key, Held(name))
