"""A backend as the operator declared it, taken apart once: addresses, secrets, prices.

declared.py reads it from the configuration. A simulated backend has no address until the
supervisor has bound the server that plays it; `with_simulator` then gives each its own path.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from pointsman.secret import Secret
from pointsman.tokens import Price

from .parameters import NO_RULES, Parameters
from .prices import price_version
from .registry import find_adapter
from .simulated.profile import Profile

Protocol = Literal["openai", "anthropic"]
"""A family of APIs; a request goes on in the one it came in."""

IN_FLIGHT_MAX = 20_000  # the same as `limits.in_flight`: by default one backend may have it all


@dataclass(frozen=True, slots=True)
class Backend:
    """One model server. Prices in US dollars, spans in seconds.

    `host` and `port` are None for a simulated backend until `with_simulator`.
    """

    name: str
    adapter: str
    """The name of a file in adapters/kinds/."""
    model: str
    """What the backend calls its model."""
    scheme: str = "http"
    host: str | None = None
    port: int | None = None
    path_prefix: str = "/v1"
    api_key: Secret | None = None
    price: Price | None = None
    price_source: Literal["config", "list"] | None = None
    is_reasoning: bool = False
    has_logprobs: bool = False
    first_token_s: float | None = None
    """`expect:`, a prior until samples are there; so are the next two."""
    tokens_per_second: float | None = None
    completion_tokens: float | None = None
    context_tokens: int | None = None
    """The size of its context window."""
    ca_file: Path | None = None
    vectors: str | None = None
    strip_metadata: bool = False
    include_usage: bool = True
    """Whether `stream_options.include_usage` may be asked of it."""
    hidden: bool = False
    profile: Profile | None = None
    in_flight_max: int = IN_FLIGHT_MAX
    parameters: Parameters = NO_RULES
    own: Hashable = None
    """What only its adapter reads."""

    def with_own(self, own: Hashable, parameters: Parameters) -> "Backend":
        """The same with what its adapter has read."""
        return replace(self, own=own, parameters=parameters)

    @property
    def protocol(self) -> Protocol:
        """The family of APIs it speaks."""
        return find_adapter(self.adapter).protocol

    @property
    def is_simulated(self) -> bool:
        """Whether the loopback simulator plays it."""
        return self.profile is not None

    @property
    def price_version(self) -> str | None:
        """Changes exactly when the price does."""
        return None if self.price is None else price_version(self.price)


def with_simulator(backends: Mapping[str, Backend], host: str, port: int) -> dict[str, Backend]:
    """The same backends, the simulated ones reachable at the simulator's address."""
    return {
        name: replace(backend, host=host, port=port, path_prefix=simulated_prefix(name))
        if backend.is_simulated
        else backend
        for name, backend in backends.items()
    }


def simulated_prefix(name: str) -> str:
    """The path under which the simulator plays backend `name`."""
    return f"/{quote(name, safe='')}/v1"
