"""Asking a backend off the request path: for benchmarks and teachers.

It calls a backend at its ordinary address, with the bytes its adapter makes, streamed so that the
first token is timed. A failure is an answer too (`error_type`), never an exception: rates of
failures are what a benchmark is for. A backend that says "later" (429, 503) is asked again a few
times after the span it names; the time of an answer is that of its last try.
"""

import asyncio
import math
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
import msgspec
from aiohttp import web

from adapters.adapter import RequestRefused
from adapters.address import DEFAULT_PORTS
from adapters.backend import Backend, with_simulator
from adapters.chat_reader import ChatReader
from adapters.edits import Wanted
from adapters.simulated.server import Simulator
from adapters.target import Target
from pointsman.errors import PointsmanError
from pointsman.tokens import Usage

from .answer_match import answer_text
from .assemble import assemble

Json = dict[str, object]

ANSWER_BYTES_MAX: Final = 64 << 20
TRIES_MAX: Final = 4
WAIT_S: Final = 1.0
WAIT_S_MAX: Final = 30.0
LATER_STATUSES: Final = frozenset((429, 503, 529))
CONNECT_S: Final = 10.0
STALE_US: Final = 50_000
"""A connection that breaks at once had been left open too long: nothing was asked over it yet."""
STALE_WAIT_S: Final = 0.01

TIMEOUT: Final = "timeout"
CONNECTION: Final = "connection"
CUT: Final = "cut_stream"
UNREADABLE: Final = "unreadable"
TOO_LARGE: Final = "too_large"
REFUSED: Final = "refused"


class Unaskable(PointsmanError):
    """The backend has no address, or none that speaks the chat API."""


class Reply(msgspec.Struct, frozen=True):
    """What a backend said. Spans in microseconds; None is unknown."""

    text: str | None
    """None where there was no whole answer."""
    error_type: str | None
    total_us: int
    first_token_us: int | None = None
    usage: Usage = Usage()
    cost_usd: float | None = None
    finish_reason: str | None = None
    model: str | None = None
    confidence: float | None = None
    """Geometric mean of the tokens' probabilities."""
    http_status: int | None = None
    message: Json | None = None
    tries: int = 1


class Asker:
    """Backends that can be asked, over one pool of connections."""

    def __init__(self, session: aiohttp.ClientSession, *, timeout_s: float) -> None:
        self._session = session
        self._timeout_s = timeout_s
        self._targets: dict[str, Target] = {}
        self._trust: dict[str, ssl.SSLContext] = {}

    async def ask(self, backend: Backend, body: Json, *, served_at_once: int = 1) -> Reply:
        """The answer of `backend` to a chat body without model; never raises for a failure."""
        target = self._targets.setdefault(backend.name, Target(backend))
        try:
            url, headers, payload = wire_request(target, body)
        except (RequestRefused, ValueError) as error:
            return Reply(None, REFUSED, 0, message={"content": str(error)})
        for attempt in range(1, TRIES_MAX + 1):
            reply, wait_s = await self._try(backend, url, headers, payload, served_at_once)
            if wait_s is None or attempt == TRIES_MAX:
                return msgspec.structs.replace(reply, tries=attempt)
            await asyncio.sleep(min(wait_s * attempt, WAIT_S_MAX))
        raise AssertionError("the last try returns")

    async def _try(
        self,
        backend: Backend,
        url: str,
        headers: dict[str, str],
        payload: bytes,
        served_at_once: int,
    ) -> tuple[Reply, float | None]:
        """One call, and how long to wait before another; None: this was the answer."""
        call = _Call(backend, served_at_once)
        try:
            async with asyncio.timeout(self._timeout_s):
                async with self._session.post(
                    url,
                    data=payload,
                    headers=headers,
                    ssl=self._trust_of(backend),
                    allow_redirects=False,
                ) as response:
                    await call.read(response)
                    return call.reply(), _wait_s(response)
        except TimeoutError:
            return call.failed(TIMEOUT), None
        except (aiohttp.ClientError, OSError):
            if call.has_begun:
                return call.failed(CUT), None
            is_stale = call.elapsed_us() < STALE_US
            return call.failed(CONNECTION), STALE_WAIT_S if is_stale else None
        except AnswerTooLarge:
            return call.failed(TOO_LARGE), None

    def _trust_of(self, backend: Backend) -> ssl.SSLContext | bool:
        """Whom a backend's certificate must be signed by; True: whom the system trusts."""
        if backend.ca_file is None:
            return True
        if backend.name not in self._trust:
            self._trust[backend.name] = ssl.create_default_context(cafile=backend.ca_file)
        return self._trust[backend.name]


class AnswerTooLarge(PointsmanError):
    """An answer beyond ANSWER_BYTES_MAX."""


class _Call:
    """One answer being read and timed."""

    def __init__(self, backend: Backend, served_at_once: int) -> None:
        self._backend = backend
        self._served_at_once = served_at_once
        self._started_s = time.monotonic()
        self._first_token_us: int | None = None
        self._status: int | None = None
        self._body = bytearray()
        self._reader = ChatReader()
        self._is_stream = False

    @property
    def has_begun(self) -> bool:
        """A head came."""
        return self._status is not None

    async def read(self, response: aiohttp.ClientResponse) -> None:
        """Read all of it, noting when its first token came."""
        self._status = response.status
        self._is_stream = response.content_type == "text/event-stream"
        async for data in response.content.iter_any():
            self._body += data
            if len(self._body) > ANSWER_BYTES_MAX:
                raise AnswerTooLarge
            if self._first_token_us is None and (not self._is_stream or b"data:" in self._body):
                self._first_token_us = self.elapsed_us()

    def reply(self) -> Reply:
        """What was said, once it was read to its end."""
        if self._status is None or self._status >= 400:
            return self.failed(f"status_{self._status}")
        body = bytes(self._body)
        self._reader.read_events(body) if self._is_stream else self._reader.read_whole(body)
        if self._reader.error is not None:
            return self.failed("upstream_error")
        answer = assemble(body)
        if answer is None:
            return self.failed(UNREADABLE)
        if not answer.is_whole:
            return self.failed(CUT)
        return msgspec.structs.replace(
            self.failed(None), text=answer_text(answer.message), message=answer.message
        )

    def failed(self, error_type: str | None) -> Reply:
        """What is known of a call that ended like that."""
        total_us = self.elapsed_us()
        reader = self._reader
        logprobs = reader.token_logprobs
        return Reply(
            text=None,
            error_type=error_type,
            total_us=total_us,
            first_token_us=self._first_token_us,
            usage=reader.usage,
            cost_usd=self._cost_usd(total_us),
            finish_reason=reader.finish_reason,
            model=reader.model,
            confidence=math.exp(sum(logprobs) / len(logprobs)) if logprobs else None,
            http_status=self._status,
        )

    def _cost_usd(self, total_us: int) -> float | None:
        price = self._backend.price
        if price is None:
            return None
        return price.cost_usd(
            self._reader.usage, busy_s=total_us / 1e6, served_at_once=self._served_at_once
        )

    def elapsed_us(self) -> int:
        """Since it was sent."""
        return int((time.monotonic() - self._started_s) * 1e6)


def wire_request(target: Target, body: Json) -> tuple[str, dict[str, str], bytes]:
    """URL, headers and body as the backend's adapter makes them; the answer is to be streamed."""
    backend = target.backend
    whole = msgspec.json.encode({"model": backend.model, **body, "stream": True})
    wanted = Wanted(backend.model, True, False, backend.has_logprobs and "logprobs" not in body)
    prepared = target.prepare(whole, wanted, header_lines=b"content-type: application/json\r\n")
    head, _, payload = prepared.payload.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    headers.pop("content-length")
    return f"{backend.scheme}://{_authority(backend)}{first.split(' ')[1]}", headers, payload


def _authority(backend: Backend) -> str:
    host = backend.host or ""
    host = f"[{host}]" if ":" in host else host
    return host if backend.port == DEFAULT_PORTS[backend.scheme] else f"{host}:{backend.port}"


def _wait_s(response: aiohttp.ClientResponse) -> float | None:
    if response.status not in LATER_STATUSES:
        return None
    try:
        return float(response.headers.get("retry-after", WAIT_S))
    except ValueError:
        return WAIT_S


@asynccontextmanager
async def open_asker(*, timeout_s: float, connections: int) -> AsyncIterator[Asker]:
    """An Asker with at most `connections` open at once."""
    connector = aiohttp.TCPConnector(limit=connections)
    timeouts = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeouts, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        yield Asker(session, timeout_s=timeout_s)


@asynccontextmanager
async def playing(backends: dict[str, Backend]) -> AsyncIterator[dict[str, Backend]]:
    """The same backends, the simulated ones played on a loopback port meanwhile."""
    simulated = {name: b for name, b in backends.items() if b.is_simulated}
    for name, backend in backends.items():
        if backend.host is None and not backend.is_simulated:
            raise Unaskable(f"backend {name!r} has no address")
    if not simulated:
        yield backends
        return
    runner = Simulator(simulated).runner(stop_s=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield with_simulator(backends, host, port)
    finally:
        await runner.cleanup()
