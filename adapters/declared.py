"""The section `backends:` of the configuration: what every backend says, and what its adapter asks.

`load_backends` reads the words that all backends have (price, expect, limits); the adapter reads
the others from a `Declared`, with `server` for what most of them share.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pointsman.decoding import Findings, Section, boolean, choice, duration_s, integer, number, text
from pointsman.document import Node
from pointsman.secret import decode_secret

from .address import Address, is_loopback, parse_base_url
from .backend import IN_FLIGHT_MAX, Backend
from .prices import ListPrices, decode_price, load_list_prices
from .registry import adapter_names, find_adapter

IN_FLIGHT_MAX_MAX = 1_000_000

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,63}")
_RESERVED = ("auto",)


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


@dataclass(frozen=True, slots=True)
class Declared:
    """The section of backend `name`; paths are relative to `directory`."""

    name: str
    adapter: str
    section: Section
    directory: Path
    environment: Mapping[str, str]

    @property
    def findings(self) -> Findings:
        """Where faults are reported."""
        return self.section.findings

    def server(self, *, default_url: str | None = None) -> Backend:
        """The words `base_url, model, api_key, tls`: a server reached over the network."""
        section = self.section
        if default_url is None:
            section.require("base_url")
        address = section.read(
            "base_url",
            lambda node: parse_base_url(text(node)),
            None if default_url is None else parse_base_url(default_url),
        )
        key = section.node("api_key")
        api_key = key and decode_secret(
            key,
            f"the api_key of backend {self.name!r}",
            findings=self.findings,
            directory=self.directory,
            environment=self.environment,
        )
        if address is None:
            address = Address("http", "", 80, "/v1")  # an error was reported
        elif address.scheme == "http" and key and not is_loopback(address.host):
            self.findings.warn(section.at_key("base_url"), "the api_key is sent without encryption")
        return Backend(
            name=self.name,
            adapter=self.adapter,
            model=section.read("model", text, self.name),
            scheme=address.scheme,
            host=address.host or None,
            port=address.port if address.host else None,
            path_prefix=address.path_prefix,
            api_key=api_key or None,
            ca_file=self._ca_file(address),
        )

    def _ca_file(self, address: Address) -> Path | None:
        tls = self.section.subsection("tls")
        if tls is None:
            return None
        name = tls.read("ca", text)
        tls.require("ca")
        tls.done()
        if address.host and address.scheme == "http":
            message = "tls: the base_url does not use https"
            self.findings.error(self.section.at_key("tls"), message)
        if name is None:
            return None
        path = self.directory / name
        if not path.is_file():
            self.findings.error(tls.at_key("ca"), f"ca: no file {path}")
        return path


@dataclass(frozen=True, slots=True)
class _Reader:
    findings: Findings
    directory: Path
    environment: Mapping[str, str]
    list_prices: ListPrices

    def backend(self, name: str, node: Node) -> Backend:
        section = Section(node, self.findings, f"backend {name!r}")
        section.require("adapter")
        adapter = section.read("adapter", choice(*adapter_names()), "openai")
        declared = Declared(name, adapter, section, self.directory, self.environment)
        backend = find_adapter(adapter).read(declared)
        backend = self._priced(self._common(backend, section), section)
        section.done()
        return backend

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
            context_tokens=section.read("context", integer(1)),
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
