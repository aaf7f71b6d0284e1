"""A backend's `base_url`, taken apart once at load: no URL is parsed on the request path.

Refused: other schemes than http and https, a user or password in the URL (it would end up in
logs), a query or fragment, paths with dot segments, and IPv4 addresses in any spelling but
four decimal numbers (`2130706433`, `0177.0.0.1` and `127.1` mean loopback to some resolvers
and not to the reader).
"""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}

_HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
_NUMBER_LIKE = re.compile(r"(0x[0-9a-f]*|[0-9]+)")
_PATH = re.compile(r"(/[A-Za-z0-9._~:@!$&'()*+,;=%-]+)*")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a backend listens. `host` has no brackets; `path_prefix` is `` or `/v1`."""

    scheme: str
    host: str
    port: int
    path_prefix: str


def parse_base_url(url: str) -> Address:
    """Take `url` apart. ValueError says what is accepted."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ValueError("a URL has only visible ASCII characters and no backslash")
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS:
        raise ValueError(f"{url!r} must begin with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("no user or password in a URL; use api_key: {env: NAME}")
    if "?" in url or "#" in url:
        raise ValueError(f"{url!r} must not have a query or fragment")
    port = DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    if port == 0:
        raise ValueError(f"{url!r}: port 0 cannot be called")
    return Address(parts.scheme, _host(parts.hostname or ""), port, _prefix(parts.path))


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine by its spelling alone; nothing is resolved."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host(host: str) -> str:
    if ":" in host and "%" not in host:
        return str(ipaddress.IPv6Address(host))
    last = host.rstrip(".").rpartition(".")[2]
    if _NUMBER_LIKE.fullmatch(last):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise ValueError(
                f"{host!r} is not an IPv4 address in four decimal numbers, as 127.0.0.1"
            ) from None
    if not _HOST_NAME.fullmatch(host):
        raise ValueError(f"{host!r} is not a host name")
    return host


def _prefix(path: str) -> str:
    prefix = path.rstrip("/")
    if not _PATH.fullmatch(prefix):
        raise ValueError(f"{path!r} is not a path prefix, as /v1")
    if any(segment.lower().replace("%2e", ".") in (".", "..") for segment in prefix.split("/")):
        raise ValueError(f"{path!r} must not have dot segments")
    return prefix
