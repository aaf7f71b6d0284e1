"""Everything a request needs of the configuration, wired once and frozen: one policy a request.

A reload makes a new `Wiring`; exchanges under way keep the one they began with. Pools survive a
reload where their backend's declaration did not change.
"""

import asyncio
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from adapters.pool import Pool
from adapters.target import Target
from policies.hedge_budget import HedgeBudget
from policies.policy import Policy
from policies.route_match import RouteMatch

from .configuration import Configuration
from .keys import Keys

AnswerKey = tuple[str, str | None, tuple[str, ...]]


class InFlight(Mapping[str, int]):
    """Requests in flight per backend, read from the pools at the moment of asking."""

    def __init__(self, pools: Mapping[str, Pool]) -> None:
        self._pools = pools

    def __getitem__(self, name: str) -> int:
        return self._pools[name].in_flight

    def get(self, name: str, default: int = 0) -> int:  # type: ignore[override]
        """As every mapping's, compiled: a decision asks it for each candidate."""
        pool = self._pools.get(name)
        return default if pool is None else pool.in_flight

    def __iter__(self) -> Iterator[str]:
        return iter(self._pools)

    def __len__(self) -> int:
        return len(self._pools)


@dataclass(frozen=True, slots=True)
class Wiring:
    """One configuration, ready to serve."""

    configuration: Configuration
    policy: Policy
    keys: Keys | None
    targets: Mapping[str, Target]
    pools: Mapping[str, Pool]
    in_flight: InFlight
    price_versions: Mapping[str, str | None]
    contexts: Mapping[str, int]
    """Sizes of context windows in tokens, of backends whose size is stated."""
    answer_lines: dict[AnswerKey, bytes] = field(default_factory=dict)
    """Header lines that answers of one kind share, made when first needed."""
    narrowed: dict[tuple[str, str], RouteMatch] = field(default_factory=dict)
    """Routes narrowed to some of their backends, by route and backend; see deciding.py."""
    hedge_budgets: dict[str, HedgeBudget] = field(default_factory=dict)
    """By route; made when first needed, and begun anew with every configuration."""

    def make_answer_lines(self, key: AnswerKey) -> bytes:
        """The lines for (route, backend, what was edited)."""
        route, backend, edited = key
        lines = f"x-pointsman-route: {route}\r\nx-pointsman-policy: {self.policy.digest}\r\n"
        if backend is not None:
            lines += f"x-pointsman-backend: {backend}\r\n"
        if edited:
            lines += f"x-pointsman-edited: {', '.join(edited)}\r\n"
        self.answer_lines[key] = lines.encode()
        return self.answer_lines[key]

    def close_pools_not_in(self, other: "Wiring") -> None:
        """Let go of backends that the next wiring speaks to differently, or not at all."""
        for name, pool in self.pools.items():
            if other.pools.get(name) is not pool:
                pool.close()


def wire(
    configuration: Configuration,
    keys: Keys | None,
    *,
    loop: asyncio.AbstractEventLoop,
    before: Wiring | None,
) -> Wiring:
    """Targets and pools for every backend. Raises OSError, ssl.SSLError for a bad CA file."""
    pools = {}
    for name, backend in configuration.backends.items():
        old = before.pools.get(name) if before is not None else None
        if old is not None and old.backend == backend:
            pools[name] = old
        else:
            context = _ssl_context(backend.ca_file) if backend.scheme == "https" else None
            pools[name] = Pool(backend, loop=loop, ssl_context=context)
        pools[name].queue_s = configuration.limits.queue_s
    targets = {name: Target(backend) for name, backend in configuration.backends.items()}
    versions = {name: one.price_version for name, one in configuration.backends.items()}
    contexts = {
        name: one.context_tokens
        for name, one in configuration.backends.items()
        if one.context_tokens is not None
    }
    return Wiring(
        configuration,
        configuration.policy,
        keys,
        targets,
        pools,
        InFlight(pools),
        versions,
        contexts,
    )


def _ssl_context(ca_file: object) -> ssl.SSLContext:
    """System trust, or the one CA file; TLS 1.2 or newer; names always checked."""
    context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
