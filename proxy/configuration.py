"""The operator's file as one frozen value: each room reads its section, this puts them together.

Proxy reads `listen, admin, keys, limits, passthrough`; telemetry `capture`; adapters `backends`;
policies `checks, routes`. All faults of a file are found in one run; what only shows when the
sections are seen together (a missing key file, an open port without keys) is checked last.
"""

import hashlib
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from adapters.backend import Backend, with_simulator
from adapters.declared import load_backends
from pointsman import decoding
from pointsman.decoding import Findings, Section
from pointsman.document import MapNode, ScalarNode, parse
from pointsman.errors import ConfigError, Problem
from policies.facts import BackendFacts, Expect
from policies.fitted_store import DIGEST_BYTES, digest_in
from policies.language import Policy, load_policy
from policies.lock import NO_LOCK, NO_PROMISES, Lock, Promises
from telemetry.config import CaptureConfig, load_capture
from telemetry.fitted_file import start_of_fitted

from .alarms import Alarming, load_alarms
from .listening import (
    Address,
    Admin,
    Limits,
    Listen,
    Passthrough,
    load_admin,
    load_limits,
    load_listen,
    load_passthrough,
)
from .locked import read_lock_text, with_lock
from .protocols import check_protocols

DIGEST_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything one file says, validated.

    `digest` is of the file's text, `policy.digest` of what its routes mean. `policy` is what is
    in force, `written` what the file says: they differ where a lock proves a promise (locked.py).
    """

    file: Path
    text: str
    digest: str
    listen: Listen
    admin: Admin
    alarms: Alarming
    capture: CaptureConfig
    keys_file: Path | None
    limits: Limits
    backends: Mapping[str, Backend]
    policy: Policy
    passthrough: tuple[Passthrough, ...]
    warnings: tuple[Problem, ...]
    written: Policy
    lock: Lock = NO_LOCK
    model: str = ""
    """Digest of what was fitted last; see policies/fitted.py."""
    promises: Promises = NO_PROMISES

    @property
    def simulated(self) -> dict[str, Backend]:
        """The backends the simulator plays."""
        return {name: b for name, b in self.backends.items() if b.is_simulated}

    def with_simulator(self, address: Address) -> "Configuration":
        """The same, its simulated backends pointing at the running simulator."""
        return replace(self, backends=with_simulator(self.backends, address.host, address.port))


def load_configuration(path: Path, *, environment: Mapping[str, str] = os.environ) -> Configuration:
    """Read and validate a file. Raises ConfigError with all its problems."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        message = "no such file; `pointsman init` writes one"
        raise ConfigError([Problem(str(path), 1, 1, message)]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem(str(path), 1, 1, f"cannot be read: {error}")]) from error
    lock = read_lock_text(path)
    return parse_configuration(text, file=path, environment=environment, lock=lock)


def parse_configuration(
    text: str,
    *,
    file: Path,
    environment: Mapping[str, str] = os.environ,
    lock: str | None = None,
) -> Configuration:
    """Validate `text` as if it stood in `file`, with the lock `lock` beside it.

    Relative paths start from `file`'s folder.
    """
    findings = Findings()
    configuration = _decode(text, file, findings, environment)
    findings.raise_if_any()
    assert configuration is not None  # without errors every section was read
    model = digest_in(start_of_fitted(configuration.capture.directory, DIGEST_BYTES))
    return with_lock(configuration, lock, model=model)


def _decode(
    text: str, file: Path, findings: Findings, environment: Mapping[str, str]
) -> Configuration | None:
    directory = file.absolute().parent
    root = Section(parse(text, str(file)), findings, "the configuration")
    root.require("backends", "routes")
    listen = load_listen(root.node("listen"), findings=findings, directory=directory)
    admin = load_admin(
        root.node("admin"), findings=findings, directory=directory, environment=environment
    )
    alarms = load_alarms(
        root.node("alarms"), findings=findings, directory=directory, environment=environment
    )
    capture = load_capture(root.node("capture"), findings=findings, directory=directory)
    keys_file = _load_keys_file(root, directory)
    limits = load_limits(root.node("limits"), findings=findings)
    backends = load_backends(
        root.node("backends"), findings=findings, directory=directory, environment=environment
    )
    passthrough = load_passthrough(root.node("passthrough"), findings=findings, backends=backends)
    policy = load_policy(
        root.node("checks"),
        root.node("routes"),
        {name: _facts(backend) for name, backend in backends.items()},
        findings=findings,
        file=str(file),
    )
    root.done()
    check_protocols(root.node("routes"), backends, findings)
    _check_trust(root)
    _cross_check(root, listen=listen, admin=admin, keys_file=keys_file)
    if policy is None:
        return None
    return Configuration(
        file=file,
        text=text,
        digest=hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH],
        listen=listen,
        admin=admin,
        alarms=alarms,
        capture=capture,
        keys_file=keys_file,
        limits=limits,
        backends=backends,
        policy=policy,
        passthrough=passthrough,
        warnings=tuple(sorted(findings.warnings)),
        written=policy,
    )


def _load_keys_file(root: Section, directory: Path) -> Path | None:
    """`keys: {file: F}`; a file that is not there yet is a warning: no key is valid then."""
    section = root.subsection("keys")
    if section is None:
        return None
    section.require("file")
    name = section.read("file", decoding.text)
    section.done()
    if name is None:
        return None
    path = directory / name
    if not path.exists():
        root.findings.warn(
            section.at_key("file"),
            f"no file {path}: every request is refused until `pointsman key create` made a key",
        )
    return path


def _check_trust(root: Section) -> None:
    """Try every CA file: a worker must not find out when it swaps the file in."""
    backends = root.node("backends")
    for node in backends.items.values() if isinstance(backends, MapNode) else ():
        tls = node.items.get("tls") if isinstance(node, MapNode) else None
        ca = tls.items.get("ca") if isinstance(tls, MapNode) else None
        if not isinstance(ca, ScalarNode):
            continue
        path = Path(ca.at.file).absolute().parent / ca.text
        if not path.is_file():
            continue  # the adapters have said so
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except OSError as error:  # ssl.SSLError is one
            root.findings.error(ca.at, f"ca: {path} cannot be used: {error}")


def _cross_check(root: Section, *, listen: Listen, admin: Admin, keys_file: Path | None) -> None:
    if keys_file is None and not listen.address.is_loopback:
        root.findings.error(
            root.at_key("listen"),
            f"listening on {listen.address} without keys would let everyone in; "
            "write keys: {file: keys.yaml} or listen on 127.0.0.1",
        )
    if listen.address == admin.address and listen.address.port != 0:
        root.findings.error(root.at_key("admin"), f"admin and listen are both {admin.address}")


def _facts(backend: Backend) -> BackendFacts:
    """What the policies may know of a backend."""
    expect = Expect(
        first_token_s=backend.first_token_s,
        tokens_per_second=backend.tokens_per_second,
        completion_tokens=backend.completion_tokens,
    )
    return BackendFacts(
        name=backend.name,
        price=backend.price,
        expect=expect,
        has_logprobs=backend.has_logprobs,
        is_reasoning=backend.is_reasoning,
        hidden=backend.hidden,
        vectors=backend.vectors,
    )
