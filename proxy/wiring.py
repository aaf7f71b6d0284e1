"""Everything a request needs of the configuration, wired once and frozen: one policy a request.

A reload makes a new `Wiring`; exchanges under way keep the one they began with. Pools survive a
reload where their backend's declaration did not change.
"""

import asyncio
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from adapters.openai import Target
from adapters.pool import Pool
from policies.policy import Policy

from .configuration import Configuration
from .keys import Keys


class InFlight(Mapping[str, int]):
    """Requests in flight per backend, read from the pools at the moment of asking."""

    def __init__(self, pools: Mapping[str, Pool]) -> None:
        self._pools = pools

    def __getitem__(self, name: str) -> int:
        return self._pools[name].in_flight

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
    targets = {name: Target(backend) for name, backend in configuration.backends.items()}
    return Wiring(configuration, configuration.policy, keys, targets, pools, InFlight(pools))


def _ssl_context(ca_file: object) -> ssl.SSLContext:
    """System trust, or the one CA file; TLS 1.2 or newer; names always checked."""
    context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
