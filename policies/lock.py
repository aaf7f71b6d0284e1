"""The lock: what was certified of each route, beside the configuration, and whether it still holds.

Written by `pointsman calibrate`, read when a configuration is loaded. A promise is void once
anything it was proved of has changed: the route's words or its backends (`policy`), the limit,
the confidence, the reference. A void promise is none; the reference answers.
"""

from collections.abc import Mapping, Sequence

import msgspec

from pointsman.errors import PointsmanError

from .facts import BackendFacts
from .policy import digest_of
from .words import Route

FORMAT = 1


class BadLock(PointsmanError):
    """The file is no lock of this program. Delete it, or run `pointsman calibrate` again."""


class RouteLock(msgspec.Struct, frozen=True):
    """One route's promise and its proof."""

    accept: float | None
    """Answers whose confidence reaches it are accepted; None: the reference answers everything."""
    max: float
    confidence: float
    reference: str
    labels: int
    errors: int
    bound: float
    """Upper bound of the route's error at `confidence`."""
    policy: str
    """Digest of the route and its backends."""
    label_set: str
    """Digest of the labels it was proved on."""
    model: str = ""
    """Digest of the fitted model whose confidences were used; empty: none."""
    made_us: int = 0


class Lock(msgspec.Struct, frozen=True):
    """All routes that were certified."""

    routes: dict[str, RouteLock] = {}
    format: int = FORMAT


def read_lock(data: bytes) -> Lock:
    """Raises BadLock."""
    try:
        lock = msgspec.json.decode(data, type=Lock)
    except msgspec.DecodeError as error:
        raise BadLock(f"not a lock: {error}") from None
    if lock.format != FORMAT:
        raise BadLock(f"a lock of format {lock.format}; this program reads {FORMAT}")
    return lock


def write_lock(lock: Lock) -> bytes:
    """As it stands in the file: readable, one key a line."""
    return msgspec.json.format(msgspec.json.encode(lock), indent=2) + b"\n"


def route_digest(route: Route, backends: Mapping[str, BackendFacts]) -> str:
    """Digest of a route and of the backends it may ask."""
    names = {*route.candidates, *route.on_failure}
    if route.escalate is not None:
        names.update(route.escalate.to)
    if route.require.error is not None:
        names.add(route.require.error.reference)
    return digest_of([route], {name: backends[name] for name in sorted(names)})


def void_reason(
    lock: RouteLock, route: Route, backends: Mapping[str, BackendFacts], *, model: str = ""
) -> str | None:
    """Why a promise no longer holds; None where it does."""
    limit = route.require.error
    if limit is None:
        return "the route promises nothing any more"
    if (lock.max, lock.confidence) != (limit.max, limit.confidence):
        return f"it was proved for {lock.max:.4g} at {lock.confidence:.4g}"
    if lock.reference != limit.reference:
        return f"it was proved against {lock.reference}"
    if lock.policy != route_digest(route, backends):
        return "the route or one of its backends has changed"
    if lock.model != model:
        return "the model of its confidences has changed"
    if not lock.bound <= limit.max:  # NaN too
        return f"its bound {lock.bound:.4g} is above the limit"
    return None


def certified_routes(
    lock: Lock, routes: Mapping[str, Route], backends: Mapping[str, BackendFacts]
) -> tuple[dict[str, RouteLock], dict[str, str]]:
    """The promises that hold, and why the others do not."""
    holding: dict[str, RouteLock] = {}
    void: dict[str, str] = {}
    for name, one in lock.routes.items():
        route = routes.get(name)
        reason = "no such route" if route is None else void_reason(one, route, backends)
        if reason is None:
            holding[name] = one
        else:
            void[name] = reason
    return holding, void


def apply_lock(
    lock: Lock, routes: Sequence[Route], backends: Mapping[str, BackendFacts]
) -> tuple[tuple[Route, ...], frozenset[str], dict[str, str]]:
    """Routes with the proved thresholds in place of `accept: calibrated`, whose promises hold
    (`World.certified`), and why others do not. Done once, when a configuration is loaded.

    A route whose proof says that the reference answers everything is not certified: that is what
    happens without a proof too.
    """
    holding, void = certified_routes(lock, {route.name: route for route in routes}, backends)
    certified, applied = set(), []
    for route in routes:
        proof, rule = holding.get(route.name), route.confidence
        if proof is not None and proof.accept is not None and rule is not None:
            certified.add(route.name)
            rule = msgspec.structs.replace(rule, accept=proof.accept)
            route = msgspec.structs.replace(route, confidence=rule)
        applied.append(route)
    return tuple(applied), frozenset(certified), void
