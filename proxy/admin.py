"""The admin port: health, metrics, state, configuration, decisions, reload.

It answers on its own listener, never on the data port. Every request must name a known host
(DNS rebinding) and, where it says where it comes from, come from one (CSRF); with a token
configured all but the two health paths need it. Data keys are worth nothing here.

    GET  /healthz /readyz /metrics /state /config /canary /decisions/{id}
    POST /reload /canary/{route}/{start|next|promote|rollback}
"""

import asyncio
import hmac
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import msgspec
from aiohttp import hdrs, web

from pointsman import __version__
from pointsman.errors import ConfigError
from telemetry.finding import find_decision
from telemetry.ids import milliseconds_of
from telemetry.metrics import CAPTURE_HELP, Counters, exposition

from . import canaries
from .admin_http import AdminServer, error_response
from .alarms import Alarms
from .errors import (
    INVALID,
    DownstreamError,
    decision_not_found,
    framing,
    method_not_supported,
    unknown_url,
)
from .folding import Folding
from .handover import Handover
from .hub import Hub
from .listening import Address, Admin
from .reloading import Reloader
from .shutdowns import ModelWatch
from .trials import TrialKeeper

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
DECISIONS = "/decisions/"
CANARY = "/canary"
REASON_CHARACTERS_MAX = 200
OPEN_PATHS = ("/healthz", "/readyz")
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

HELP = {
    **CAPTURE_HELP,
    "pointsman_backend_available": "Workers that send to the backend now.",
    "pointsman_backend_transitions_total": "Changes of a backend's standing.",
    "pointsman_backend_probes_total": "Requests that tried a backend again, by outcome.",
    "pointsman_shadows_total": "What became of copies for labels.",
    "pointsman_retry_budget_refused_total": "Retries not made for lack of budget.",
    "pointsman_info": "Always 1; version and policy in force as labels.",
    "pointsman_start_time_seconds": "When this keeper started, in seconds since the epoch.",
    "pointsman_workers_connected": "Workers that report to the keeper.",
    "pointsman_folded_records_total": "Records folded into the store by this keeper.",
    "pointsman_fold_damages_total": "Damaged places found in the journal.",
    "pointsman_fold_failures_total": "Passes of the fold that failed and were tried again.",
    "pointsman_canary_share": "Share of its side's traffic a canary has; 0 while it is only shown.",
    "pointsman_canary_samples": "Answers of a canary at its present stage, one a conversation.",
    "pointsman_canary_steps_total": "Steps canaries made: started, next_stage, held, promoted,"
    " rolled_back.",
    "pointsman_promise_refuted": "1 where a route's promise was refuted and withdrawn.",
    "pointsman_trials_failures_total": "Looks at canaries and promises that failed.",
    "pointsman_alarms_total": "Alarms raised, by what they are about.",
    "pointsman_webhook_posts_total": "Alarms posted to the webhook: delivered or lost.",
    "pointsman_reloads_total": "Configurations put in force.",
    "pointsman_reload_refusals_total": "Configurations refused; the old one stayed.",
}

Answer = Callable[[], Awaitable[web.Response]]


class Refused(Exception):
    """The request gets this error and nothing else."""

    def __init__(self, error: DownstreamError) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass(slots=True)
class AdminListener:
    """Serves until `close`. What it reports on is given once and never replaced."""

    handover: Handover
    hub: Hub
    folding: Folding
    reloader: Reloader
    models: ModelWatch
    trials: TrialKeeper
    alarms: Alarms
    is_draining: bool = False
    started_s: float = field(default_factory=time.time)
    _server: AdminServer | None = None
    _listener: asyncio.Server | None = None

    async def listen(self, listening: socket.socket) -> None:
        """Accept on the inherited socket."""
        self._server = AdminServer(self.handle)
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._server, sock=listening)

    def begin_drain(self) -> None:
        """The workers are finishing: not ready any more."""
        self.is_draining = True

    async def close(self) -> None:
        """Stop accepting and end what is open."""
        if self._listener is not None and self._server is not None:
            self._listener.close()
            await self._server.shutdown(1.0)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request: is it allowed, what does it ask, the answer."""
        try:
            check_source(request, self._admin, self.handover.admin_address)
            if request.path not in OPEN_PATHS:
                check_token(request, self._admin)
            return await self._answer_for(request)()
        except Refused as refused:
            return error_response(refused.error)

    @property
    def _admin(self) -> Admin:
        return self.reloader.current.configuration.admin

    def _answer_for(self, request: web.BaseRequest) -> Answer:
        """The exact table of paths; nothing else exists."""
        if request.path == "/reload":
            _check_method(request, "POST")
            return self._reload
        if request.path.startswith(CANARY + "/"):
            _check_method(request, "POST")
            return lambda: self._command(request)
        answers: dict[str, Answer] = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/state": self._state,
            "/config": self._config,
            CANARY: self._canaries,
        }
        answer = answers.get(request.path)
        if answer is None and request.path.startswith(DECISIONS):
            decision_id = request.path.removeprefix(DECISIONS)
            answer = lambda: self._decision(decision_id)  # noqa: E731 (one path with an argument)
        if answer is None:
            raise Refused(unknown_url())
        _check_method(request, "GET", "HEAD")
        return answer

    # -- the answers -----------------------------------------------------------------------

    async def _healthz(self) -> web.Response:
        return _json({"status": "ok"})

    async def _readyz(self) -> web.Response:
        wanted = len(self.handover.worker_sockets)
        status = self._readiness(wanted)
        answer = {"status": status, "workers": self.hub.connected, "wanted": wanted}
        return _json(answer, status=200 if status == "ready" else 503)

    def _readiness(self, wanted: int) -> str:
        if self.is_draining:
            return "draining"
        if self.hub.connected != wanted:
            return "starting"
        return "refusing" if self.hub.refusing else "ready"

    async def _metrics(self) -> web.Response:
        kept = {**self.trials.counters(), **self.alarms.counters()}
        counters = {**self.hub.counters(), **self._own_metrics(), **kept}
        return web.Response(
            body=exposition(counters, HELP).encode(), headers={hdrs.CONTENT_TYPE: METRICS_TYPE}
        )

    def _own_metrics(self) -> Counters:
        configuration = self.reloader.current.configuration
        policy = (("policy", configuration.policy.digest), ("version", __version__))
        return {
            ("pointsman_info", policy): 1.0,
            ("pointsman_start_time_seconds", ()): self.started_s,
            ("pointsman_workers_connected", ()): float(self.hub.connected),
            ("pointsman_folded_records_total", ()): float(self.folding.folded),
            ("pointsman_fold_damages_total", ()): float(self.folding.damages),
            ("pointsman_fold_failures_total", ()): float(self.folding.failures),
            ("pointsman_reloads_total", ()): float(self.reloader.reloads),
            ("pointsman_reload_refusals_total", ()): float(self.reloader.refusals),
        }

    async def _state(self) -> web.Response:
        current = self.reloader.current
        return _json(
            {
                "version": __version__,
                "policy": current.configuration.policy.digest,
                "configuration": current.configuration.digest,
                "generation": current.generation,
                "last_reload_problems": [str(p) for p in self.reloader.last_problems],
                "fold": self.folding.state(),
                "learned": await self.folding.learned_summary(),
                "workers": self.hub.states(),
                "shutdowns": self.models.state(),
                "canaries": self.trials.state(),
                "promises": self.trials.promises_state(),
                "alarms": self.alarms.state(),
            }
        )

    async def _config(self) -> web.Response:
        """The text as written: secrets stand in it by name only, a literal is refused at load."""
        configuration = self.reloader.current.configuration
        return _json(
            {
                "file": str(configuration.file),
                "digest": configuration.digest,
                "policy": configuration.policy.digest,
                "warnings": [str(warning) for warning in configuration.warnings],
                "text": configuration.text,
            }
        )

    async def _decision(self, decision_id: str) -> web.Response:
        found = None
        if milliseconds_of(decision_id) is not None:
            found = await asyncio.to_thread(find_decision, self.handover.directory, decision_id)
        if found is None:
            raise Refused(decision_not_found())
        return _json(found.decision)

    async def _canaries(self) -> web.Response:
        return _json({"canaries": self.trials.state()})

    async def _command(self, request: web.BaseRequest) -> web.Response:
        """`POST /canary/{route}/{word}`; its body may say `{"reason": "..."}`."""
        route, _, word = request.path.removeprefix(CANARY + "/").rpartition("/")
        if word not in canaries.WORDS or not route:
            raise Refused(unknown_url())
        try:
            said = read_reason(await request.read())
            return _json(await self.trials.command(route, word, said))
        except canaries.BadCommand as error:
            raise Refused(DownstreamError(409, INVALID, "canary_command", str(error))) from None

    async def _reload(self) -> web.Response:
        try:
            fresh = await self.reloader.reload("POST /reload")
        except ConfigError as error:
            problems = [
                {"file": p.file, "line": p.line, "column": p.column, "message": p.message}
                for p in error.problems
            ]
            return _json({"errors": problems}, status=422)
        return _json({"policy": fresh.configuration.policy.digest})


class _Reason(msgspec.Struct):
    reason: str = ""


def read_reason(body: bytes) -> str:
    """Why the operator says so, as it is kept with the step. Raises Refused."""
    if not body.strip():
        return ""
    try:
        reason = msgspec.json.decode(body, type=_Reason).reason
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise Refused(framing('The body is {"reason": "..."}, or empty.')) from None
    return reason[:REASON_CHARACTERS_MAX]


# -- who may ask -----------------------------------------------------------------------------


def check_source(request: web.BaseRequest, admin: Admin, bound: Address) -> None:
    """Refuse an unknown `Host`, and a foreign `Origin` where there is one."""
    hosts = request.headers.getall(hdrs.HOST, [])
    if len(hosts) != 1:
        raise Refused(framing("Exactly one Host header is needed."))
    known = known_hosts(admin, bound)
    if hosts[0].lower() not in known:
        raise Refused(_forbidden("This Host is not served here; see `admin: hosts`."))
    for origin in request.headers.getall(hdrs.ORIGIN, []):
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or parts.netloc.lower() not in known:
            raise Refused(_forbidden("This Origin may not call the admin port."))


def known_hosts(admin: Admin, bound: Address) -> frozenset[str]:
    """What `Host` may say: the configured names, the address itself, loopback's names."""
    names = {f"{name}:{bound.port}" for name in LOOPBACK_NAMES}
    return frozenset({*admin.hosts, str(bound).lower(), *names})


def check_token(request: web.BaseRequest, admin: Admin) -> None:
    """Where a token is configured, refuse whoever does not have it."""
    if not admin.needs_token:
        return
    given = request.headers.getall(hdrs.AUTHORIZATION, [])
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    expected = admin.token.reveal() if admin.token is not None else ""
    is_right = hmac.compare_digest(token.encode("utf-8", "surrogateescape"), expected.encode())
    if not expected or scheme.lower() != "bearer" or not is_right:
        headers = ((b"www-authenticate", b"Bearer"),)
        message = "The admin port needs its token: Authorization: Bearer TOKEN."
        raise Refused(
            DownstreamError(401, INVALID, "invalid_admin_token", message, headers=headers)
        )


def _check_method(request: web.BaseRequest, *allowed: str) -> None:
    if request.method not in allowed:
        raise Refused(method_not_supported(", ".join(allowed).encode()))


def _forbidden(message: str) -> DownstreamError:
    return DownstreamError(403, INVALID, "forbidden", message)


def _json(value: object, *, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(value), content_type="application/json"
    )
