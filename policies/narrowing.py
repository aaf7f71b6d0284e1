"""A route narrowed for one kind of request: to one backend, or to those whose answers are alike.

    pinned            only this backend can serve it, since it made what the request refers to
    interchangeable   vectors of different models do not compare: only backends that declare the
                      same `vectors` may stand in for each other

What compares, doubts or copies answers has no place on a narrowed route. Limits stay where there
is still something to choose.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from .compiled_route import compile_route
from .facts import BackendFacts
from .route_match import RouteMatch
from .words import Require, Route


def pinned(match: RouteMatch, backend: str, backends: Mapping[str, BackendFacts]) -> RouteMatch:
    """The route that takes the request, with `backend` alone on it."""
    route = replace(_plain(match.route), candidates=(backend,), on_failure=(), require=Require())
    return _matched(match, route, backends)


def interchangeable(match: RouteMatch, backends: Mapping[str, BackendFacts]) -> RouteMatch:
    """The route with those backends whose vectors are those of its first that declares any.

    Where none does, its first candidate is left alone.
    """
    route = match.route
    names = [name for name in route.candidates if backends[name].vectors is not None]
    first = (names or route.candidates)[0]
    vectors = backends[first].vectors

    def alike(candidates: tuple[str, ...]) -> tuple[str, ...]:
        if vectors is None:
            return tuple([name for name in candidates if name == first])
        return tuple([name for name in candidates if backends[name].vectors == vectors])

    require = Require(latency=route.require.latency, cost=route.require.cost)
    narrowed = replace(
        _plain(route),
        candidates=alike(route.candidates),
        on_failure=alike(route.on_failure),
        require=require,
    )
    return _matched(match, narrowed, backends)


def _plain(route: Route) -> Route:
    return replace(
        route,
        confidence=None,
        checks=(),
        escalate=None,
        hold="none",
        hedge=None,
        explore=None,
        shadow=None,
        canary=None,
        probes=(),
    )


def _matched(match: RouteMatch, route: Route, backends: Mapping[str, BackendFacts]) -> RouteMatch:
    return RouteMatch(route, match.by, compile_route(route, backends))
