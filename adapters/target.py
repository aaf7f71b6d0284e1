"""One backend as requests see it: everything constant about asking it, made ready once.

`Target` joins a backend with its adapter. What does not change from request to request is
rendered when a configuration is wired; `prepare` then makes the bytes of one request.
"""

from typing import Final
from urllib.parse import unquote_to_bytes

import pointsman

from .address import DEFAULT_PORTS
from .backend import Backend
from .edits import Prepared, Wanted
from .registry import find_adapter

VERSION: Final = b"/v1"
CHAT_PATH: Final = b"/v1/chat/completions"
KNOWN_PATHS: Final = (
    CHAT_PATH,
    b"/v1/completions",
    b"/v1/embeddings",
    b"/v1/responses",
    b"/v1/messages",
    b"/v1/messages/count_tokens",
)
"""Request lines kept ready; those of other paths are made each time."""


class Target:
    """One backend and its adapter, everything constant precomputed."""

    def __init__(self, backend: Backend) -> None:
        adapter = find_adapter(backend.adapter)
        self.backend = backend
        self.protocol = adapter.protocol
        self.is_simulated = backend.is_simulated
        self.to_upstream = adapter.to_upstream
        self.to_downstream = adapter.to_downstream
        self.is_retryable = adapter.is_retryable
        self.is_loading = adapter.is_loading
        self._edit = adapter.edit
        self._locate = adapter.locate
        self._located = {path: b"POST " + self._lies_at(path) for path in KNOWN_PATHS}
        self._fixed_lines = _fixed_lines(backend, adapter.credentials(backend))

    def prepare(
        self,
        body: bytes,
        wanted: Wanted,
        *,
        header_lines: bytes,
        query: bytes = b"",
        path: bytes = CHAT_PATH,
    ) -> Prepared:
        """The bytes of one request; `header_lines` are the client's, as `to_upstream` left them.

        `path` is the API's own (`/v1/...`, checked); `query` has its `?`. Raises what
        `Adapter.edit` raises.
        """
        edited = self._edit(self.backend, body, wanted)
        body = edited.body
        start = self.start(b"POST", path, query)
        length = str(len(body)).encode()  # %d would be formatted in twice the time
        payload = b"%b%bcontent-length: %b\r\n\r\n%b" % (start, header_lines, length, body)
        return Prepared(
            payload, edited.names, wanted.is_stream, edited.hides_usage, edited.hides_logprobs
        )

    def start(self, method: bytes, path: bytes, query: bytes = b"") -> bytes:
        """A request's first line and our own header lines; the client's and framing follow."""
        located = self._located.get(path) if method == b"POST" else None
        if located is None:
            located = b"%b %b" % (method, self._lies_at(path))
        if query and b"?" in located:
            query = _beside(located.partition(b"?")[2], query)
        return b"%b%b%b" % (located, query, self._fixed_lines)

    def _lies_at(self, path: bytes) -> bytes:
        """Where an API's path lies on this server."""
        return self._locate(self.backend, path.removeprefix(VERSION).decode("latin-1")).encode()


def _beside(own: bytes, query: bytes) -> bytes:
    """The client's query behind a server's `own`: what that names is the operator's to say."""
    names = {_name(pair) for pair in own.split(b"&")}
    pairs = query[1:].split(b"&")
    return b"".join(b"&" + pair for pair in pairs if pair and _name(pair) not in names)


def _name(pair: bytes) -> bytes:
    return unquote_to_bytes(pair.partition(b"=")[0]).lower()


def _fixed_lines(backend: Backend, credentials: tuple[tuple[bytes, bytes], ...]) -> bytes:
    host = backend.host or ""
    host = f"[{host}]" if ":" in host else host
    is_usual = backend.port == DEFAULT_PORTS[backend.scheme]
    authority = host if is_usual else f"{host}:{backend.port}"
    lines = [
        b" HTTP/1.1\r\n",
        b"host: %b\r\n" % authority.encode("latin-1"),
        b"accept-encoding: identity\r\n",
        b"user-agent: pointsman/%b\r\n" % pointsman.__version__.encode(),
    ]
    lines += [b"%b: %b\r\n" % header for header in credentials]
    return b"".join(lines)
