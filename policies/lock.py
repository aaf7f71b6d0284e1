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
NOT_CALIBRATED = "never proved from labels: run `pointsman calibrate`"
NO_SUCH_ROUTE = "no such route"
REFERENCE_ALONE = "its labels prove it of the reference alone"


class BadLock(PointsmanError):
    """The file is no lock of this program. Delete it, or run `pointsman calibrate` again."""


class RouteLock(msgspec.Struct, frozen=True):
    """One route's promise and its proof."""

    accept: float | None
    """Answers whose confidence reaches it are accepted. None and no `gain`: the reference
    answers everything."""
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
    gain: float | None = None
    """Requests that the reference is likelier by this to answer well go to it at once."""


class Lock(msgspec.Struct, frozen=True):
    """All routes that were certified."""

    routes: dict[str, RouteLock] = {}
    former: dict[str, RouteLock] = {}
    """What was in force before, by route: taken up again where the monitor refutes the newer."""
    format: int = FORMAT


class Promises(msgspec.Struct, frozen=True):
    """What a lock makes of the routes it was written for."""

    routes: tuple[Route, ...]
    """With the proved thresholds in place of `accept: calibrated`."""
    certified: dict[str, RouteLock] = {}
    """The promises that hold: other backends than the reference may answer there."""
    void: dict[str, str] = {}
    """Why the other routes with `require.error` are left to their reference, and why promises
    of routes that are gone are none."""


NO_LOCK = Lock()
NO_PROMISES = Promises(())


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
    """Why a promise no longer holds; None where it does. `model` is the digest of today's."""
    limit = route.require.error
    if limit is None:
        return "the route promises nothing any more"
    if (lock.max, lock.confidence) != (limit.max, limit.confidence):
        return f"it was proved for {lock.max:.4g} at {lock.confidence:.4g}"
    if lock.reference != limit.reference:
        return f"it was proved against {lock.reference}"
    if lock.policy != route_digest(route, backends):
        return "the route or one of its backends has changed"
    if lock.model and lock.model != model:
        return "the model of its confidences has changed"
    if not lock.bound <= limit.max:  # NaN too
        return f"its bound {lock.bound:.4g} is above the limit"
    return None


def apply_lock(
    lock: Lock,
    routes: Sequence[Route],
    backends: Mapping[str, BackendFacts],
    *,
    model: str = "",
    suspended: Mapping[str, str] = {},
) -> Promises:
    """What holds of a lock. Done once, when a configuration is loaded.

    `model` is the digest of the fitted models; `suspended` says of which routes the promise was
    found broken, and how: there the former one counts, where there is one that holds. A route
    whose proof says that the reference answers everything is not certified: that is what happens
    without a proof too.
    """
    known = {route.name for route in routes}
    void = {name: NO_SUCH_ROUTE for name in lock.routes if name not in known}
    certified, applied = {}, []
    for route in routes:
        if route.name in lock.routes or route.require.error is not None:
            broken = suspended.get(route.name)
            found = _promise(lock, route, backends, model=model, broken=broken)
            if isinstance(found, str):
                void[route.name] = found
            else:
                certified[route.name] = found
                route = _with_proof(route, found)
        applied.append(route)
    return Promises(tuple(applied), certified, void)


def _promise(
    lock: Lock,
    route: Route,
    backends: Mapping[str, BackendFacts],
    *,
    model: str,
    broken: str | None,
) -> RouteLock | str:
    """The promise of a route that holds, or why none does."""
    proof = lock.routes.get(route.name)
    if proof is None:
        return NOT_CALIBRATED
    if broken is not None:
        proof = lock.former.get(route.name)
        if proof is None:
            return broken
    reason = void_reason(proof, route, backends, model=model)
    if reason is None and proof.accept is None and proof.gain is None:
        reason = REFERENCE_ALONE
    if reason is None:
        return proof
    return reason if broken is None else broken


def _with_proof(route: Route, proof: RouteLock) -> Route:
    """The route with what was proved of it in place of what was to be proved."""
    require, rule = route.require, route.confidence
    if proof.gain is not None and require.error is not None:
        error = msgspec.structs.replace(require.error, gain=proof.gain)
        require = msgspec.structs.replace(require, error=error)
    if proof.accept is not None and rule is not None:
        rule = msgspec.structs.replace(rule, accept=proof.accept, model=proof.model)
    return msgspec.structs.replace(route, require=require, confidence=rule)
