"""One worker's part in canaries: which requests are on a canary's side, and which are shown to it.

What the keeper says is swapped in whole: the next request follows it, those under way keep the
route they began with, so that a rollback drops none.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from policies.canary_route import is_on_canary, with_canary
from policies.canary_run import Arm
from policies.route_match import RouteMatch

from .shadow import Order, Shadows
from .sticking import conversation_key

if TYPE_CHECKING:
    from .exchange import Exchange

SHOWN_USD_A_DAY: Final = 240.0
"""What the stage `shadow` may cost, all workers together; at most an hour's part at once."""


class CanarySides:
    """The canaries as this worker knows them."""

    def __init__(self, shadows: Shadows) -> None:
        self.arms: Mapping[str, Arm] = {}
        """By route."""
        self._shadows = shadows

    def __repr__(self) -> str:
        return f"<CanarySides {dict(self.arms)}>"

    def take(self, arms: Mapping[str, Arm]) -> None:
        """Follow this from now on."""
        self.arms = dict(arms)
        self._shadows.newcomers = {
            route: Order(arm.backend, 1.0, SHOWN_USD_A_DAY, "canary")
            for route, arm in self.arms.items()
            if arm.is_shadow
        }

    def place(self, exchange: "Exchange", match: RouteMatch) -> RouteMatch:
        """The route of an exchange whose route has a canary: as it is, or with the canary on it."""
        route, features = match.route, exchange.features
        arm = self.arms.get(route.name)
        canary = route.canary
        if arm is None or canary is None or features is None:
            return match
        if (arm.backend, arm.replaces) != (canary.backend, canary.replaces):
            return match  # of a configuration before or after this exchange's
        conversation = features.conversation or exchange.id
        if not is_on_canary(route.name, arm, caller=exchange.caller, conversation=conversation):
            return match
        if route.sticky != "none" and _stays_away(exchange, match, arm):
            return match
        exchange.canary = arm.backend
        wiring = exchange.wiring
        key = (route.name, f"\0{match.by}\0{arm.backend}")  # no backend's name
        found = wiring.narrowed.get(key)
        if found is None:
            found = wiring.narrowed[key] = with_canary(match, arm, wiring.policy.backends)
        return found


def _stays_away(exchange: "Exchange", match: RouteMatch, arm: Arm) -> bool:
    """Whether a conversation began with the backend to be replaced before the canary's share grew
    to it, and may stay there: until the canary has everything."""
    key = conversation_key(exchange, match)
    held = None if key is None else exchange.plane.conversations.find(key)
    return held is not None and held.backend == arm.replaces and arm.share < 1.0
