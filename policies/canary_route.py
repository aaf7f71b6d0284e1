"""Which requests go to a canary, and the route they take there.

The side is drawn from the conversation, so every worker sends all of it the same way; growing
shares only add conversations. On the canary's side the newcomer stands in the place of the
candidate it replaces: limits, preferences and what follows a failure are the route's own.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from .canary_run import Arm
from .compiled_route import compile_route
from .facts import BackendFacts
from .route_match import RouteMatch
from .sticky import key_of, unit_of


def is_on_canary(route: str, arm: Arm, *, caller: str | None, conversation: str) -> bool:
    """Whether a conversation is on the canary's side."""
    if arm.share <= 0.0 or arm.share >= 1.0:
        return arm.share >= 1.0
    return unit_of(key_of(f"canary:{route}:{arm.backend}", caller, conversation)) < arm.share


def with_canary(match: RouteMatch, arm: Arm, backends: Mapping[str, BackendFacts]) -> RouteMatch:
    """The route that takes the request, with the canary in the place of whom it replaces."""
    names = [arm.backend if name == arm.replaces else name for name in match.route.candidates]
    route = replace(match.route, candidates=tuple(names), probes=())
    return RouteMatch(route, match.by, compile_route(route, backends))
