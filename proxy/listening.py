"""The proxy's own sections: where it listens, who may enter, how much it takes."""

import ipaddress
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pointsman import decoding
from pointsman.decoding import Findings, Section
from pointsman.document import ListNode, Node, ScalarNode
from pointsman.secret import Secret, decode_secret

from .endpoints import ENDPOINTS

PORT_MAX = 65_535
BODY_BYTES = 20 << 20  # WIRE: default limit of one request body
BODY_BYTES_MAX = 1 << 30
IN_FLIGHT = 20_000
IN_FLIGHT_MAX = 1_000_000
QUEUE_MAX_S = 0.1
"""Who waits longer is better told so: clients come back by themselves."""
_PATH = re.compile(r"/v1/[-\w.~:@!$&'()+,;=/]*\*?", re.ASCII)
"""Of a path that passes through: what `passage.checked_path` leaves as it is."""


@dataclass(frozen=True, slots=True)
class Address:
    """`host` is an IP address or a name, without brackets; port 0 lets the kernel choose."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of the listener's own certificate."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Listen:
    """The data port."""

    address: Address
    tls: TlsFiles | None = None


@dataclass(frozen=True, slots=True)
class Admin:
    """The admin port. `hosts` are the `Host` values accepted besides the address's own."""

    address: Address
    token: Secret | None = None
    needs_token: bool = False
    """With `needs_token` and no token (its variable is not set) nobody is let in."""
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """What one process tree takes on. `in_flight` is shared by the workers in equal parts."""

    body_bytes: int = BODY_BYTES
    in_flight: int = IN_FLIGHT
    in_flight_per_key: int | None = None
    """Of one caller; shared in the same way."""
    queue_s: float = 0.0
    """How long a request waits for room before it is refused."""

    def share(self, workers: int) -> "Limits":
        """One worker's part; at least one request."""
        per_key = self.in_flight_per_key
        return replace(
            self,
            in_flight=max(1, self.in_flight // workers),
            in_flight_per_key=None if per_key is None else max(1, per_key // workers),
        )


@dataclass(frozen=True, slots=True)
class Passthrough:
    """One path (exact, or ending in a star) that goes to one backend unrouted."""

    path: str
    backend: str


def load_listen(node: Node | None, *, findings: Findings, directory: Path) -> Listen:
    """`HOST:PORT`, or `{address, tls: {certificate, key}}`. Paths start from `directory`."""
    default = Address("127.0.0.1", 8080)
    if node is None:
        return Listen(default)
    if isinstance(node, ScalarNode):
        return Listen(_address(node, findings, "listen") or default)
    section = Section(node, findings, "listen")
    section.require("address")
    found = section.read("address", address, default)
    tls = _load_tls(section.subsection("tls"), findings, directory)
    section.done()
    return Listen(found, tls)


def load_admin(
    node: Node | None, *, findings: Findings, directory: Path, environment: Mapping[str, str]
) -> Admin:
    """`HOST:PORT`, or `{address, token, hosts}`. Off loopback a token is required."""
    default = Address("127.0.0.1", 8081)
    if node is None:
        return Admin(default)
    if isinstance(node, ScalarNode):
        admin = Admin(_address(node, findings, "admin") or default)
    else:
        section = Section(node, findings, "admin")
        section.require("address")
        admin = Admin(
            section.read("address", address, default),
            _load_token(section, findings, directory, environment),
            "token" in section,
            section.each("hosts", _host),
        )
        section.done()
    if not admin.address.is_loopback and not admin.needs_token:
        findings.error(
            node.at, "admin off loopback needs a token: {address: ..., token: {env: NAME}}"
        )
    return admin


def load_limits(node: Node | None, *, findings: Findings) -> Limits:
    """`{body: 20MiB, in_flight: 20000, in_flight_per_key: 500, queue: 50ms}`."""
    if node is None:
        return Limits()
    section = Section(node, findings, "limits")
    limits = Limits(
        section.read("body", _body_bytes, BODY_BYTES),
        section.read("in_flight", decoding.integer(1, IN_FLIGHT_MAX), IN_FLIGHT),
        section.read("in_flight_per_key", decoding.integer(1, IN_FLIGHT_MAX)),
        section.read("queue", _queue_s, 0.0),
    )
    section.done()
    return limits


def load_passthrough(
    node: Node | None, *, findings: Findings, backends: Mapping[str, object]
) -> tuple[Passthrough, ...]:
    """A list of `{path, backend}`; each backend must exist."""
    if node is None:
        return ()
    if not isinstance(node, ListNode):
        findings.error(node.at, "passthrough must be a list of {path, backend}")
        return ()
    rules: list[Passthrough] = []
    for item in node.items:
        section = Section(item, findings, "passthrough")
        section.require("path", "backend")
        path = section.read("path", _path, "")
        backend = section.read("backend", decoding.text, "")
        if backend and backend not in backends:
            hint = decoding.nearest(backend, sorted(backends))
            findings.error(section.at_key("backend"), f"no backend {backend!r}{hint}")
        section.done()
        _check_reach(path, rules, section)
        rules.append(Passthrough(path, backend))
    return tuple(rules)


OWN = {
    "/v1/models": "GET",
    "/v1/feedback": "POST",
    **{path.decode(): "POST" for path in ENDPOINTS},
}
"""What is answered here or routed, whatever the rules say; other methods may pass through."""


def _check_reach(path: str, before: list[Passthrough], section: Section) -> None:
    """The first rule that fits is taken: say so where an earlier one takes all of `path`."""
    own = OWN.get(path.rstrip("*"))
    if own is not None:
        message = f"{own} {path.rstrip('*')} does not pass through: pointsman answers or routes it"
        section.findings.warn(section.at_key("path"), message)
    for rule in before:
        if rule.path == path or (rule.path[-1:] == "*" and path.startswith(rule.path[:-1])):
            message = f"{path} is never reached: {rule.path} above takes it"
            section.findings.warn(section.at_key("path"), message)
            return


def load_certificate(context: ssl.SSLContext, files: TlsFiles) -> None:
    """Read certificate and key; connections made from now on use them. Raises OSError.

    A key with a passphrase is refused: nobody is there to type it.
    """

    def refuse() -> str:
        raise OSError("the key has a passphrase")

    context.load_cert_chain(files.certificate, files.key, password=refuse)


def address(node: Node) -> Address:
    """`127.0.0.1:8080`, `[::1]:0`, `localhost:80`."""
    written = decoding.text(node)
    host, colon, port = written.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > PORT_MAX:
        raise ValueError(f"{written!r} is not an address; write HOST:PORT as in 127.0.0.1:8080")
    if host.startswith("[") and host.endswith("]"):
        return Address(str(ipaddress.IPv6Address(host[1:-1])), int(port))
    if ":" in host or "/" in host or "@" in host:
        raise ValueError(f"{written!r} is not an address; write an IPv6 address in brackets")
    return Address(host, int(port))


def _address(node: Node, findings: Findings, what: str) -> Address | None:
    try:
        return address(node)
    except ValueError as error:
        findings.error(node.at, f"{what}: {error}")
        return None


def _load_tls(section: Section | None, findings: Findings, directory: Path) -> TlsFiles | None:
    if section is None:
        return None
    section.require("certificate", "key")
    paths = []
    for key in ("certificate", "key"):
        path = directory / section.read(key, decoding.text, "")
        if key in section and not path.is_file():
            findings.error(section.at_key(key), f"{key}: no file {path}")
        paths.append(path)
    section.done()
    files = TlsFiles(*paths)
    if all(path.is_file() for path in paths):
        try:
            load_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), files)
        except OSError as error:  # ssl.SSLError is one
            findings.error(section.at_key("certificate"), f"tls: cannot be used: {error}")
    return files


def _load_token(
    section: Section, findings: Findings, directory: Path, environment: Mapping[str, str]
) -> Secret | None:
    node = section.node("token")
    if node is None:
        return None
    return decode_secret(
        node,
        "the token of admin",
        findings=findings,
        directory=directory,
        environment=environment,
    )


def _body_bytes(node: Node) -> int:
    size = decoding.size_bytes(node)
    if not 1 <= size <= BODY_BYTES_MAX:
        raise ValueError(f"{size} bytes is not between 1 B and {BODY_BYTES_MAX >> 30} GiB")
    return size


def _queue_s(node: Node) -> float:
    span_s = decoding.duration_s(node)
    if not 0 <= span_s <= QUEUE_MAX_S:
        raise ValueError(f"{span_s:g} s is not between 0ms and {QUEUE_MAX_S * 1000:g}ms")
    return span_s


def _host(node: Node) -> str:
    host = decoding.text(node).lower()
    if "/" in host or "@" in host:
        raise ValueError(f"{host!r} is not a host; write NAME:PORT as the Host header has it")
    return host


def _path(node: Node) -> str:
    path = decoding.text(node)
    is_plain = _PATH.fullmatch(path) and "//" not in path and "/." not in path
    if not is_plain or path.endswith("/"):  # no request has such a path
        raise ValueError(f"{path!r} is not a path; write /v1/files or /v1/files*")
    return path
