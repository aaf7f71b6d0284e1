"""A backend as the operator declared it, taken apart once: addresses, secrets, prices.

`load_backends` reads the section `backends:`. A simulated backend has no address until the
supervisor has bound the server that plays it; `with_simulator` then gives each its own path.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from pointsman.decoding import Findings, Section, boolean, choice, duration_s, integer, number, text
from pointsman.document import Node
from pointsman.secret import Secret, decode_secret
from pointsman.tokens import Price

from .address import Address, is_loopback, parse_base_url
from .prices import ListPrices, decode_price, load_list_prices, price_version
from .simulated.profile import Profile, decode_profile

Adapter = Literal["openai", "simulated"]

ADAPTERS: tuple[Adapter, ...] = ("openai", "simulated")
IN_FLIGHT_MAX = 20_000  # the same as `limits.in_flight`: by default one backend may have it all
IN_FLIGHT_MAX_MAX = 1_000_000

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,63}")
_RESERVED = ("auto",)


@dataclass(frozen=True, slots=True)
class Backend:
    """One model server. Prices in US dollars, spans in seconds.

    `host` and `port` are None for a simulated backend until `with_simulator`.
    """

    name: str
    adapter: Adapter
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
    ca_file: Path | None = None
    vectors: str | None = None
    strip_metadata: bool = False
    include_usage: bool = True
    """Whether `stream_options.include_usage` may be asked of it."""
    hidden: bool = False
    profile: Profile | None = None
    in_flight_max: int = IN_FLIGHT_MAX

    @property
    def is_simulated(self) -> bool:
        """Whether the loopback simulator plays it."""
        return self.adapter == "simulated"

    @property
    def price_version(self) -> str | None:
        """Changes exactly when the price does."""
        return None if self.price is None else price_version(self.price)


def load_backends(
    node: Node | None,
    *,
    findings: Findings,
    directory: Path,
    environment: Mapping[str, str],
) -> dict[str, Backend]:
    """Every backend of the section, in file order; paths are relative to `directory`.

    A backend with a fault is reported and still listed, so that other sections may name it.
    A missing section gives an empty mapping: whether that is a fault is the caller's to say.
    """
    if node is None:
        return {}
    section = Section(node, findings, "backends")
    reader = _Reader(findings, directory, environment, load_list_prices())
    backends = {}
    names = section.keys()
    for name in names:
        backend_node = section.node(name)
        if not _NAME.fullmatch(name) or name in _RESERVED:
            findings.error(section.at_key(name), f"{name!r} cannot be a backend's name")
        elif backend_node is not None:
            backends[name] = reader.backend(name, backend_node)
    return backends


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


@dataclass(frozen=True, slots=True)
class _Reader:
    findings: Findings
    directory: Path
    environment: Mapping[str, str]
    list_prices: ListPrices

    def backend(self, name: str, node: Node) -> Backend:
        section = Section(node, self.findings, f"backend {name!r}")
        section.require("adapter")
        adapter = section.read("adapter", choice(*ADAPTERS), "openai")
        declared = self._simulated(name, section) if adapter == "simulated" else None
        backend = declared or self._openai(name, section)
        backend = self._priced(self._common(backend, section), section)
        section.done()
        return backend

    def _openai(self, name: str, section: Section) -> Backend:
        section.require("base_url")
        address = section.read("base_url", lambda node: parse_base_url(text(node)))
        key = section.node("api_key")
        api_key = key and decode_secret(
            key,
            f"the api_key of backend {name!r}",
            findings=self.findings,
            directory=self.directory,
            environment=self.environment,
        )
        backend = Backend(
            name=name,
            adapter="openai",
            model=section.read("model", text, name),
            api_key=api_key or None,
            ca_file=self._ca_file(section, address),
        )
        if address is None:
            return backend
        if address.scheme == "http" and key and not is_loopback(address.host):
            self.findings.warn(section.at_key("base_url"), "the api_key is sent without encryption")
        return replace(
            backend,
            scheme=address.scheme,
            host=address.host,
            port=address.port,
            path_prefix=address.path_prefix,
        )

    def _simulated(self, name: str, section: Section) -> Backend:
        profile = decode_profile(
            section.node("profile"), name, findings=self.findings, directory=self.directory
        ) or Profile(name)
        return Backend(
            name=name,
            adapter="simulated",
            model=section.read("model", text, name if profile.name == "custom" else profile.name),
            profile=profile,
            path_prefix=simulated_prefix(name),
            is_reasoning=profile.is_reasoning,
            has_logprobs=profile.has_logprobs,
        )

    def _ca_file(self, section: Section, address: Address | None) -> Path | None:
        tls = section.subsection("tls")
        if tls is None:
            return None
        name = tls.read("ca", text)
        tls.require("ca")
        tls.done()
        if address is not None and address.scheme == "http":
            self.findings.error(section.at_key("tls"), "tls: the base_url does not use https")
        if name is None:
            return None
        path = self.directory / name
        if not path.is_file():
            self.findings.error(tls.at_key("ca"), f"ca: no file {path}")
        return path

    def _common(self, backend: Backend, section: Section) -> Backend:
        expect = section.subsection("expect")
        if expect is not None:
            backend = replace(
                backend,
                first_token_s=expect.read("first_token", duration_s),
                tokens_per_second=expect.read("tokens_per_second", number(0.001)),
                completion_tokens=expect.read("completion_tokens", number(0)),
            )
            expect.done()
        return replace(
            backend,
            is_reasoning=section.read("reasoning", boolean, backend.is_reasoning),
            has_logprobs=section.read("logprobs", boolean, backend.has_logprobs),
            vectors=section.read("vectors", text),
            strip_metadata=section.read("strip_metadata", boolean, False),
            include_usage=section.read("include_usage", boolean, True),
            hidden=section.read("hidden", boolean, False),
            in_flight_max=section.read("in_flight", integer(1, IN_FLIGHT_MAX_MAX), IN_FLIGHT_MAX),
        )

    def _priced(self, backend: Backend, section: Section) -> Backend:
        node = section.node("price")
        if node is not None:
            price = decode_price(node, self.findings, f"backend {backend.name!r}")
            return replace(backend, price=price, price_source="config" if price else None)
        listed = self.list_prices.of_model(backend.model)
        if listed is None and backend.is_simulated:
            listed = self.list_prices.simulated.get(backend.model)
        return replace(backend, price=listed, price_source="list" if listed else None)
