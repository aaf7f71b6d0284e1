"""A policy, compiled once and frozen: the routes, the names it knows, and its digest.

Which model names are known, in this order (the rule an operator relies on):

    1. a route's own name           -> that route
    2. the first route whose whole `match` fits
    3. a backend's name that stands literally in no `match.model`
                                    -> that backend alone, reported as `backend:NAME`
    4. any other known name (`auto`, a backend's, one that fits a `match.model`) -> `default`
    5. everything else              -> None, which is a 404 `model_not_found`
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final

import msgspec

from .compiled_route import compile_route
from .facts import BackendFacts
from .matching import MatchEntry, ModelIndex
from .route_match import RouteMatch
from .schema_check import SchemaCheck
from .words import Check, Route

AUTO: Final = "auto"
DEFAULT: Final = "default"
BACKEND_PREFIX: Final = "backend:"
DIGEST_CHARACTERS: Final = 16
MODEL_CHARACTERS_MAX: Final = 256
"""No model is named longer, and a client's name is held against every pattern."""


class Policy:
    """What `checks:` and `routes:` say, ready to be asked. Never changes."""

    __slots__ = (
        "_by_backend", "_by_name", "_default", "_fitted", "_index",
        "backends", "caching_routes", "checks", "default", "digest", "routes",
    )  # fmt: skip

    def __init__(
        self,
        routes: Sequence[Route],
        backends: Mapping[str, BackendFacts],
        checks: Mapping[str, Check] | None = None,
    ) -> None:
        """`routes` in the file's order, `default` among them; every name they use exists."""
        self.routes = tuple(routes)
        self.backends = dict(backends)
        self.checks = dict(checks or {})
        self.digest = digest_of(self.routes, self.backends)
        compiled = {route.name: compile_route(route, self.backends) for route in routes}
        self._by_name = {r.name: RouteMatch(r, "name", compiled[r.name]) for r in routes}
        self._fitted = {r.name: RouteMatch(r, "match", compiled[r.name]) for r in routes}
        self.caching_routes = frozenset(name for name, one in compiled.items() if one.caches)
        """Where a conversation's prefix can make one backend cheaper than another."""
        self.default = self._by_name[DEFAULT].route
        self._default = RouteMatch(self.default, "default", compiled[DEFAULT])
        entries = [
            MatchEntry(order, route.name, route.match)
            for order, route in enumerate(routes)
            if route.match is not None
        ]
        self._index = ModelIndex(entries, (AUTO, *self.backends))
        self._by_backend = {
            name: self._backend_route(name)
            for name in self.backends
            if name not in self._index.literals
        }

    def __repr__(self) -> str:
        return f"<Policy {self.digest}: {len(self.routes)} routes, {len(self.backends)} backends>"

    def route_for(self, model: str | None, labels: Mapping[str, str]) -> RouteMatch | None:
        """The route of a request, by the rule above; None where the model is not known.

        A request that may leave its model out, and does, is `default`'s.
        """
        if model is None:
            return self._default
        if len(model) > MODEL_CHARACTERS_MAX:
            return None
        named = self._by_name.get(model)
        if named is not None:
            return named
        entry = self._index.first(model, labels)
        if entry is not None:
            return self._fitted[entry.name]
        alone = self._by_backend.get(model)
        if alone is not None:
            return alone
        return self._default if self._index.is_known(model) else None

    def listed_models(self) -> tuple[str, ...]:
        """What `GET /v1/models` lists: routes, then backends that are not hidden."""
        names = [route.name for route in self.routes]
        names += [name for name, facts in self.backends.items() if not facts.hidden]
        return tuple(dict.fromkeys(names))

    def _backend_route(self, name: str) -> RouteMatch:
        route = Route(
            name=BACKEND_PREFIX + name,
            candidates=(name,),
            timeout=self.default.timeout,
            capture=self.default.capture,
        )
        return RouteMatch(route, "backend", compile_route(route, self.backends))


def digest_of(routes: Sequence[Route], backends: Mapping[str, BackendFacts]) -> str:
    """Hex digest of what the policy means: not of its layout, comments or probes."""
    meaning = {
        "routes": [msgspec.structs.replace(route, probes=()) for route in routes],
        "backends": sorted(backends.values(), key=lambda facts: facts.name),
    }
    encoded = msgspec.json.encode(meaning, enc_hook=_source, order="deterministic")
    return sha256(encoded).hexdigest()[:DIGEST_CHARACTERS]


def _source(value: object) -> str:
    if isinstance(value, SchemaCheck):
        return value.source
    raise TypeError(f"{type(value).__name__} has no canonical form")
