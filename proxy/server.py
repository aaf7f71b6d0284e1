"""The data plane of one worker: opens an exchange for each request, and what they all share.

The connection (downstream.py) parses, the exchange (exchange.py) lives; here stands who may
come in, where a path leads, and what is counted. Nothing here waits.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from email.utils import formatdate
from socket import socket
from typing import Final, Literal

import msgspec

from adapters.tls import TlsLayer
from policies.choice import World
from policies.fitted import NOTHING_FITTED, Fitted
from policies.learned import Learned
from telemetry.journal import Journal
from telemetry.logs import log
from telemetry.metrics import Counters
from telemetry.record import RequestRecord

from . import errors
from .admission import Admission
from .attempt import Attempt
from .canary_sides import CanarySides
from .configuration import Configuration
from .counting import Counting
from .downstream import DownstreamProtocol, Served
from .endpoints import ENDPOINTS, shape_for
from .errors import DownstreamError
from .exchange import Exchange
from .feedback import AboutEarlier
from .heads import RequestHead
from .keys import Keys
from .locked import in_force, promises_json
from .lookup import Lookup
from .passage import passage_of
from .passing import Passing
from .patience import Patience
from .pins import Pins
from .prefixes import Prefixes
from .recording import Packer
from .reply import DECISIONS_PREFIX, FEEDBACK_PATH, Reply, allowed_methods, own_method
from .shadow import Shadows
from .sticking import Memory
from .watch import Watch
from .wiring import Wiring, wire

BACKLOG: Final = 4096
DATE_EVERY_S: Final = 1.0
LINGER_S: Final = 0.5
"""How long a drain leaves idle connections open."""
HEALTH_PATHS: Final = (b"/healthz", b"/readyz")


class DataPlane:
    """Everything the exchanges of one worker share. Not ready before `configure` and `listen`."""

    wiring: Wiring

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        journal: Journal,
        worker: int,
        workers: int = 1,
    ) -> None:
        self.loop = loop
        self.journal = journal
        self.worker = worker
        self.workers = workers
        self.world = World(Learned())
        self.watch = Watch(loop, worker=worker, on_change=self._take_unavailable)
        self.counting = Counting()
        self.shadows = Shadows(
            loop,
            workers=workers,
            keep=journal.append_label,
            unavailable=lambda: self.watch.unavailable,
            count=self.counting.attempt,
        )
        self.sides = CanarySides(self.shadows)
        self.fitted = NOTHING_FITTED
        self.prefixes = Prefixes()
        self.body_bytes_max = 0
        self.admission = Admission(loop)
        self.is_ready = False
        self.date = b""
        self.patience = Patience(loop)
        self.pack = Packer()
        self.lookup = Lookup(loop)
        self.pins = Pins(self.lookup)
        self.conversations = Memory()
        self._clients: set[DownstreamProtocol] = set()
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self._server: asyncio.AbstractServer | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_configured = False
        self._suspended: dict[str, str] = {}
        self._without_former: tuple[str, ...] = ()
        self._set_date()

    def __repr__(self) -> str:
        return f"<DataPlane worker={self.worker} in_flight={self.in_flight}>"

    @property
    def in_flight(self) -> int:
        """Requests being served, and those that wait for room."""
        return self.admission.in_flight

    @property
    def readiness(self) -> Literal["ready", "draining", "refusing"]:
        """`refusing`: nothing can be recorded, and nothing may be answered unrecorded."""
        if not self.is_ready:
            return "draining"
        return "refusing" if self.journal.is_refusing else "ready"

    # -- what the worker process uses ---------------------------------------------------------

    def configure(
        self, configuration: Configuration, keys: Keys | None, fitted: Fitted | None = None
    ) -> None:
        """Swap a configuration in: the next request uses it, those under way keep theirs.

        With `fitted` models where they are others than before: a promise counts with the ones
        it was proved with, and they are these, whatever the file holds by now.
        Raises OSError or ssl.SSLError for an unusable CA file; then nothing has changed.
        """
        before = self.wiring if self._is_configured else None
        self.fitted = self.fitted if fitted is None else fitted
        configuration = in_force(
            replace(configuration, model=self.fitted.digest),
            self._suspended,
            without_former=self._without_former,
        )
        self.wiring = wire(configuration, keys, loop=self.loop, before=before)
        self.shadows.follow(self.wiring)
        self.watch.follow(configuration.backends, workers=self.workers)
        self._is_configured = True
        self.prefixes.routes = self.wiring.policy.caching_routes
        self.learn(self.world.learned)
        self.world.learned.choices.clear()  # they may be of a promise that is void now
        self.body_bytes_max = configuration.limits.body_bytes
        self.admission.configure(configuration.limits)
        if before is not None:
            before.close_pools_not_in(self.wiring)

    def learn(self, learned: Learned) -> None:
        """Decide by this state from now on."""
        promises = self.wiring.configuration.promises
        self.world = World(
            learned,
            self.wiring.in_flight,
            self.watch.unavailable,
            frozenset(promises.certified),
            promises.void,
        )

    def suspend(self, routes: Mapping[str, str], without_former: Sequence[str] = ()) -> None:
        """Keep no promise of these routes from now on, and say why: `routes` are all there are.

        There the promise before counts, where one holds and the route is not of those
        `without_former`, else the reference answers. Stays in force when a configuration is
        swapped in; an empty mapping ends it.
        """
        if routes == self._suspended and tuple(without_former) == self._without_former:
            return
        self._suspended = dict(routes)
        self._without_former = tuple(without_former)
        if self._is_configured:
            self.configure(self.wiring.configuration, self.wiring.keys)

    async def listen(self, sock: socket, tls: ssl.SSLContext | None) -> None:
        """Accept clients on a bound socket."""
        self._server = await self.loop.create_server(
            self._protocol_factory(tls), sock=sock, backlog=BACKLOG
        )
        self.is_ready = True

    def begin_drain(self) -> None:
        """Accept nobody new; close each connection behind its answer, the idle ones in a moment.

        Who sends again within LINGER_S is answered, and told that the connection ends: closing
        at once would meet requests that are already on their way.
        """
        self.is_ready = False
        self.shadows.stop()
        if self._server is not None:
            self._server.close()
        for client in self._clients:
            client.closes = True
        self.loop.call_later(LINGER_S, self._close_idle)

    async def drained(self, timeout_s: float) -> bool:
        """Wait until nothing is in flight; False where `timeout_s` passed before."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._is_empty.wait()
        return not self._clients

    def close(self) -> None:
        """Drop every connection, both ways."""
        if self._timer is not None:
            self._timer.cancel()
        self.patience.close()
        if self._server is not None:
            self._server.close()
        for client in tuple(self._clients):
            client.abort()
        self.lookup.close()
        self.watch.close()
        self.shadows.close()
        if self._is_configured:
            for pool in self.wiring.pools.values():
                pool.close()

    def counters(self) -> Counters:
        """All counts since the start, and the gauges of this moment."""
        gauges: Counters = {
            ("pointsman_in_flight", ()): float(self.in_flight),
            ("pointsman_client_connections", ()): float(len(self._clients)),
            ("pointsman_lookups_unanswered_total", ()): float(self.lookup.unanswered),
        }
        for name, pool in self.wiring.pools.items():
            label = (("backend", name),)
            gauges["pointsman_backend_in_flight", label] = float(pool.in_flight)
            opened = float(pool.connections_opened)
            gauges["pointsman_backend_connections_opened_total", label] = opened
        shadows = self.shadows.counters()
        return {**self.counting.counters, **gauges, **self.watch.counters(), **shadows}

    def state(self) -> dict[str, object]:
        """What this worker is doing now, as JSON data."""
        return {
            "worker": self.worker,
            "policy": self.wiring.policy.digest,
            "ready": self.readiness == "ready",
            "in_flight": self.in_flight,
            "shadows": self.shadows.state(),
            "connections": len(self._clients),
            "learned": self.world.learned.name,
            "fitted": self.fitted.digest or None,
            "conversations": len(self.conversations),
            "canaries": {name: arm.share for name, arm in self.sides.arms.items()},
            "promises": promises_json(self.wiring.configuration),
            "backends": {
                name: {"in_flight": pool.in_flight, **self.watch.state_of(name)}
                for name, pool in self.wiring.pools.items()
            },
        }

    # -- what connections use -----------------------------------------------------------------

    def open(self, client: DownstreamProtocol, head: RequestHead) -> Served:
        """Who serves a request whose head has come; the key is checked before any body is kept."""
        caller = None
        keys = self.wiring.keys
        if keys is not None and head.path not in HEALTH_PATHS:
            caller = keys.caller_of(token_of(head))
            if caller is None:
                return Reply(self, client, head, errors.invalid_key())
        endpoint = ENDPOINTS.get(head.path)
        if endpoint is not None and head.method == b"POST":
            return Exchange(self, client, head, caller=caller, endpoint=endpoint)
        return self._open_other(client, head, caller)

    def connected(self, client: DownstreamProtocol) -> None:
        """A client came."""
        self._clients.add(client)
        self._is_empty.clear()

    def disconnected(self, client: DownstreamProtocol) -> None:
        """A client went."""
        self._clients.discard(client)
        if not self._clients:
            self._is_empty.set()

    def _open_other(
        self, client: DownstreamProtocol, head: RequestHead, caller: str | None
    ) -> Served:
        """What is not routed: answered here, passed through, or refused."""
        path, method = head.path, head.method
        if (path == FEEDBACK_PATH and method == b"POST") or (
            path.startswith(DECISIONS_PREFIX) and method == b"GET"
        ):
            return AboutEarlier(self, client, head, caller)
        if own_method(path) == method:
            return Reply(self, client, head)
        passage = passage_of(head, self.wiring.configuration.passthrough)
        if passage is not None:
            return Passing(self, client, head, passage, caller=caller)
        if method == b"POST" and path.startswith(b"/v1/"):
            return Exchange(self, client, head, caller=caller, endpoint=None)
        return Reply(self, client, head)

    # -- what exchanges use -------------------------------------------------------------------

    def refusal_of(self, exchange: Exchange, head: RequestHead) -> DownstreamError | None:
        """Why a whole request is not let in, if it is not."""
        if exchange.endpoint is None:
            allowed = allowed_methods(head.path)
            return errors.method_not_supported(allowed) if allowed else errors.unknown_url()
        return self.admission_error(head, exchange.caller)

    def admission_error(self, head: RequestHead, caller: str | None) -> DownstreamError | None:
        """Why there is no room for a request that could be served, if there is none."""
        encoding = head.fields.get(b"content-encoding")
        if encoding is not None and encoding.lower() != b"identity":
            return errors.unsupported_encoding()
        if self.journal.is_refusing:
            return errors.capture_unavailable()
        return self.admission.refusal(caller)

    def exchange_began(self, exchange: Exchange | Passing) -> None:
        """A whole request is being served."""
        self.admission.enter(exchange.caller)

    def exchange_ended(self, record: RequestRecord, *, counted: bool) -> None:
        """It has been answered, or its client is gone."""
        if counted:
            self.admission.leave(record.id, record.caller)
        self.counting.request(record)
        if record.route in self.prefixes.routes:
            self.prefixes.answered(record, time.monotonic())

    def attempt_ended(self, attempt: Attempt) -> None:
        """A backend has answered or failed."""
        self.counting.attempt(attempt)
        self.watch.attempt_ended(attempt)

    def refused(self, error: DownstreamError) -> None:
        """A request that no record is kept of was refused."""
        self.counting.unrecorded(error)

    def crashed(self, exchange: Exchange | Passing, error: Exception) -> None:
        """A defect of ours ends one request with a 500, and is logged without its data."""
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        line = f"{where.tb_frame.f_code.co_qualname}:{where.tb_lineno}" if where else ""
        log("request_crashed", level="error", error=type(error).__name__, at=line)
        exchange.crashed()

    # -- inside -------------------------------------------------------------------------------

    def _close_idle(self) -> None:
        for client in tuple(self._clients):
            client.drain()

    def _take_unavailable(self, unavailable: Mapping[str, str]) -> None:
        """Decide by this from now on."""
        self.world = msgspec.structs.replace(self.world, unavailable=unavailable)

    def _protocol_factory(self, tls: ssl.SSLContext | None) -> Callable[[], asyncio.BaseProtocol]:
        def plain() -> DownstreamProtocol:
            return DownstreamProtocol(self, self.loop)

        def secured() -> TlsLayer:
            assert tls is not None
            return TlsLayer(plain(), tls, on_handshake=lambda error: None)

        return plain if tls is None else secured

    def _set_date(self) -> None:
        self.date = formatdate(time.time(), usegmt=True).encode()
        self._timer = self.loop.call_later(DATE_EVERY_S, self._set_date)


def token_of(head: RequestHead) -> bytes:
    """The key of `Authorization: Bearer KEY`, byte for byte; empty where there is none.

    On Anthropic's paths it may come in `x-api-key` instead, as its clients send it.
    """
    value = head.fields.get(b"authorization")
    if value is None:
        is_named = b"x-api-key" in head.fields and shape_for(head.path) == "anthropic"
        return head.fields[b"x-api-key"] if is_named else b""
    scheme, _, token = value.partition(b" ")
    return token if scheme.lower() == b"bearer" else b""
