"""The route that takes a request.

A plain class in a file of its own, so that it can be compiled.
"""

from dataclasses import dataclass
from typing import Literal

from .compiled_route import CompiledRoute
from .words import Route

MatchedBy = Literal["name", "match", "backend", "default"]


@dataclass(init=False)
class RouteMatch:
    """The route, and why it is this one. Not changed once it is made."""

    route: Route
    by: MatchedBy
    compiled: CompiledRoute

    def __init__(self, route: Route, by: MatchedBy, compiled: CompiledRoute) -> None:
        self.route = route
        self.by = by
        self.compiled = compiled
