"""aiohttp with its manners corrected for the admin port.

Out of the box aiohttp names itself and its version in every answer, replies to broken HTTP in
plain text with a piece of the input in it, and has no bound on connections. Here each answer,
also that to broken HTTP, is OpenAI-shaped JSON without a banner and with an `x-request-id`.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable

from aiohttp import StreamReader, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.http_writer import HttpVersion11

from telemetry.logs import log

from .errors import SERVER, DownstreamError, framing, headers_too_large, too_slow

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

CONNECTIONS_MAX = 256  # people, probes and scrapers; each may hold a descriptor
IDLE_S = 30.0  # also how long a header may take: the timer starts with the connection
LINGER_S = 1.0

_SILENT = logging.getLogger("pointsman.admin.aiohttp")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False  # it would print pieces of the client's input


class AdminRequest(web.BaseRequest):
    """A request whose answer carries an id and no banner."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        response.headers.popall(hdrs.SERVER, None)
        response.headers.setdefault("x-request-id", f"req_{secrets.token_hex(16)}")
        response.headers.setdefault("cache-control", "no-store")


def _make_request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: "asyncio.Task[None]",
) -> AdminRequest:
    spoken = message._replace(version=HttpVersion11)  # also in the answer to what is no HTTP
    return AdminRequest(spoken, payload, protocol, writer, task, asyncio.get_running_loop())


class AdminServer(web.Server):
    """The protocol factory: give it to `loop.create_server`."""

    def __init__(self, handler: Handler) -> None:
        super().__init__(
            handler,
            request_factory=_make_request,
            logger=_SILENT,
            access_log=None,
            keepalive_timeout=IDLE_S,
            lingering_time=LINGER_S,
        )

    def __call__(self) -> web.RequestHandler:
        """One connection."""
        return AdminProtocol(self, loop=self._loop, **self._kwargs)


class AdminProtocol(web.RequestHandler):
    """One connection; what it answers to broken HTTP and to our own failures."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Drop what is beyond the limit without a word: words cost memory too."""
        super().connection_made(transport)
        manager = self._manager
        if manager is not None and len(manager.connections) > CONNECTIONS_MAX:
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Say what went wrong without repeating what was sent."""
        if status >= 500:
            log("admin_failed", level="error", error=repr(exc))
        response = error_response(_ERRORS.get(status) or _internal(status))
        response.force_close()
        return response


def error_response(error: DownstreamError) -> web.Response:
    """An error as an answer."""
    headers = {name.decode(): value.decode() for name, value in error.headers}
    return web.Response(
        status=error.status,
        body=error.body(),
        content_type="application/json",
        headers=headers,
    )


def _internal(status: int) -> DownstreamError:
    return DownstreamError(status, SERVER, "internal_error", "The admin listener failed.")


_ERRORS = {
    400: framing("This is not HTTP/1.1 as it should be."),
    408: too_slow(),
    431: headers_too_large(),
}
