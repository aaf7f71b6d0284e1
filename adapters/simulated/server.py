"""The loopback server that plays every simulated backend, each under its own path.

    POST /NAME/v1/chat/completions, completions, responses, embeddings
    POST /NAME/v1/messages, messages/count_tokens
    GET, DELETE /NAME/v1/responses/ID, and .../cancel, .../input_items
    GET, POST /NAME/v1/files, and .../ID, .../ID/content
    GET  /NAME/v1/models

`serve_simulated` is the whole life of its process; tests run a `Simulator` in their own loop.
"""

import asyncio
import os
import random
import signal
import socket
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from aiohttp import web

from . import chat, completions, embeddings, messages, responses
from .answers import load_answers, prompt_sha256
from .call import Call, CallRefused
from .faults import Faults, parse_faults
from .kept import Kept
from .performance import Performance
from .profile import Profile
from .reply import compose
from .shape import Shape

BODY_BYTES_MAX = 256 * 1024 * 1024  # above any limit the proxy enforces: it is the one to refuse
PROMPTS_MAX = 100_000  # attempts are counted for this many prompts, the oldest forgotten first
SHAPES = (chat.SHAPE, completions.SHAPE, responses.SHAPE, messages.SHAPE)
STOP_S_MAX = 60.0  # how long answers under way may take after SIGTERM
PARENT_POLL_S = 1.0


class SimulatedBackend(Protocol):
    """What the server needs to know of a `Backend`."""

    @property
    def name(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def profile(self) -> Profile | None: ...


@dataclass(frozen=True, slots=True)
class Role:
    """One backend to be played."""

    name: str
    model: str
    profile: Profile
    answers: Mapping[str, str]
    faults: Faults
    kept: Kept


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Simulator:
    """The handlers, and how often each prompt was seen. Counters are for tests to read."""

    def __init__(self, backends: Mapping[str, SimulatedBackend]) -> None:
        self._roles = {
            backend.name: _role(backend.name, backend.model, backend.profile)
            for backend in backends.values()
            if backend.profile is not None
        }
        self._attempts: OrderedDict[tuple[str, str], int] = OrderedDict()
        self.requests = 0
        self.in_flight = 0
        self.cancelled = 0
        """Requests whose client went away before the answer ended."""

    def application(self) -> web.Application:
        """The routes."""
        application = web.Application(client_max_size=BODY_BYTES_MAX)
        add = application.router.add_route
        for shape in SHAPES:
            path = "chat/completions" if shape is chat.SHAPE else shape.name
            add("POST", f"/{{name}}/v1/{path}", self._counted(partial(self._play, shape)))
        counting = partial(self._whole, messages.SHAPE, messages.count)
        add("POST", "/{name}/v1/messages/count_tokens", self._counted(counting))
        embedding = partial(self._whole, chat.SHAPE, embeddings.read)
        add("POST", "/{name}/v1/embeddings", self._counted(embedding))
        add("GET", "/{name}/v1/models", self._models)
        add("*", "/{name}/v1/{collection:responses|files}{rest:.*}", self._counted(self._kept))
        return application

    def runner(self, *, stop_s: float = STOP_S_MAX) -> web.AppRunner:
        """A runner that stops an answer as soon as its client is gone.

        Its `cleanup` lets answers under way end for at most `stop_s` seconds.
        """
        return web.AppRunner(
            self.application(),
            handler_cancellation=True,
            access_log=None,
            shutdown_timeout=stop_s,
        )

    async def _models(self, request: web.Request) -> web.StreamResponse:
        role = self._role(request)
        return web.json_response(body=chat.models(role.model), headers=_headers())

    def _counted(self, handler: Handler) -> Handler:
        async def counted(request: web.Request) -> web.StreamResponse:
            self.requests += 1
            self.in_flight += 1
            try:
                return await handler(request)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            finally:
                self.in_flight -= 1

        return counted

    async def _kept(self, request: web.Request) -> web.StreamResponse:
        """What was kept of earlier requests: responses by id, and files."""
        status, body = await self._role(request).kept.answer(request)
        if isinstance(body, bytes):
            return web.Response(body=body, status=status, headers=_headers())
        return web.json_response(body=chat.encode(body), status=status, headers=_headers())

    async def _play(self, shape: Shape, request: web.Request) -> web.StreamResponse:
        role = self._role(request)
        try:
            call = shape.read(await request.read(), model=role.model)
            role.kept.check_previous(call)
        except CallRefused as refused:
            return _refusal(shape, refused)
        attempt = self._next_attempt(role, call)
        call = replace(call, faults=_faults(role, call, attempt))
        performance = _performance(role, shape, request, call)
        failed = await performance.fail_early()
        if failed is not None:
            return failed
        reply = compose(role.name, role.profile, role.answers, call, attempt=attempt)
        if shape is responses.SHAPE:
            role.kept.keep_response(reply, call)
        return await performance.answer(reply, call)

    async def _whole(
        self,
        shape: Shape,
        read: Callable[..., tuple[Call, bytes]],
        request: web.Request,
    ) -> web.StreamResponse:
        """An answer that takes no time to think of."""
        role = self._role(request)
        try:
            call, body = read(await request.read(), model=role.model)
        except CallRefused as refused:
            return _refusal(shape, refused)
        call = replace(call, faults=_faults(role, call, self._next_attempt(role, call)))
        performance = _performance(role, shape, request, call)
        return await performance.fail_early() or await performance.give(body)

    def _role(self, request: web.Request) -> Role:
        name = request.match_info["name"]
        role = self._roles.get(name)
        if role is None:
            body = chat.error("Unknown backend.", kind="invalid_request_error", code="unknown_url")
            raise web.HTTPNotFound(
                text=body.decode(), content_type="application/json", headers=_headers()
            )
        return role

    def _next_attempt(self, role: Role, call: Call) -> int:
        key = (role.name, prompt_sha256(call.prompt))
        attempt = self._attempts.pop(key, 0)
        self._attempts[key] = attempt + 1
        if len(self._attempts) > PROMPTS_MAX:
            self._attempts.popitem(last=False)
        return attempt


def serve_simulated(listening: socket.socket, backends: Mapping[str, SimulatedBackend]) -> None:
    """Play `backends` on `listening` until SIGTERM or until the parent process is gone.

    Answers under way are finished first, for at most STOP_S_MAX. Raises AnswersUnreadable.
    """
    asyncio.run(_serve(listening, Simulator(backends), parent=os.getppid()))


async def _serve(listening: socket.socket, simulator: Simulator, *, parent: int) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    runner = simulator.runner()
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        while not stopping.is_set() and os.getppid() == parent:
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), PARENT_POLL_S)
    finally:
        await runner.cleanup()


def _role(name: str, model: str, profile: Profile) -> Role:
    answers = load_answers(profile.answers) if profile.answers else {}
    return Role(name, model, profile, answers, parse_faults(profile.faults), Kept())


def _performance(role: Role, shape: Shape, request: web.Request, call: Call) -> Performance:
    return Performance(
        request,
        _headers(),
        shape=shape,
        faults=call.faults,
        is_instant=role.profile.is_instant,
        fingerprint=f"fp_simulated_{role.profile.seed}",
    )


def _refusal(shape: Shape, refused: CallRefused) -> web.Response:
    body = shape.error(
        refused.message,
        status=refused.status,
        kind=refused.kind,
        param=refused.param,
        code=refused.code,
    )
    return web.json_response(body=body, status=refused.status, headers=_headers())


def _faults(role: Role, call: Call, attempt: int) -> Faults:
    """Those the request asks for, else those of the profile at its rate."""
    if call.faults != Faults():
        return call.faults
    if role.profile.fault_rate < 1:
        key = prompt_sha256(call.prompt)
        draw = random.Random(f"{role.profile.seed}|{role.name}|fault|{key}|{attempt}")
        if draw.random() >= role.profile.fault_rate:
            return call.faults
    return role.faults


def _headers() -> dict[str, str]:
    """What real answers carry besides, and the mark that this is none."""
    return {
        "x-pointsman-simulated": "true",
        "x-request-id": f"req_{uuid.uuid4().hex}",
        "openai-version": "2020-10-01",
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-remaining-requests": "9999",
        "x-ratelimit-reset-requests": "6ms",
    }
