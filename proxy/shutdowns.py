"""Models that their providers will shut down: asked now and then, warned about from 90 days on.

The keeper asks a minute after its start and once a day, `doctor` when it is run; both write what
they heard into the data directory, where `check` finds it without asking anybody. Nothing here is
on the path of a request.
"""

import asyncio
import datetime as dt
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from adapters.backend import Backend
from adapters.model_list import ModelsUnknown, ask_shutdown_dates
from telemetry.logs import log

from .configuration import Configuration

FILE = "shutdown_dates.json"
FIRST_S = 60.0  # not in the rush of a start
EVERY_S = 86_400.0
WARN_DAYS = 90
URGENT_DAYS = 7
SERVERS_MAX = 50  # asked in one round

Server = tuple[str, str | None, int | None, str]


class Shutdown(msgspec.Struct, frozen=True):
    """One backend whose model has an announced end."""

    backend: str
    model: str
    date: dt.date
    routes: tuple[str, ...]

    def days_left(self, today: dt.date) -> int:
        """Negative once it has passed."""
        return (self.date - today).days

    def message(self, today: dt.date) -> str:
        """For people."""
        days = self.days_left(today)
        when = f"shuts down on {self.date}, in {days} days" if days > 0 else f"ended on {self.date}"
        routes = f"; routes: {', '.join(self.routes)}" if self.routes else ""
        return f"backend {self.backend!r}: model {self.model!r} {when}{routes}"


async def ask(configuration: Configuration) -> tuple[list[Shutdown], dict[str, str]]:
    """What all servers say of the backends' models, and why some said nothing, by backend."""
    heard: dict[Server, dict[str, dt.date]] = {}
    silent: dict[Server, str] = {}
    backends = [one for one in configuration.backends.values() if not one.is_simulated]
    for backend in backends:
        server = _server(backend)
        if server in heard or server in silent or len(heard) + len(silent) >= SERVERS_MAX:
            continue
        try:
            heard[server] = await ask_shutdown_dates(backend)
        except ModelsUnknown as error:
            silent[server] = str(error)
    dates = {
        backend.name: heard.get(_server(backend), {}).get(backend.model) for backend in backends
    }
    unknown = {
        backend.name: silent[_server(backend)] for backend in backends if _server(backend) in silent
    }
    return list(_shutdowns(configuration, dates)), unknown


def soon(shutdowns: list[Shutdown], today: dt.date) -> list[Shutdown]:
    """Those worth a warning, the nearest first."""
    near = [one for one in shutdowns if one.days_left(today) <= WARN_DAYS]
    return sorted(near, key=lambda one: one.date)


def write(directory: Path, shutdowns: list[Shutdown]) -> None:
    """Keep what was heard, for those who do not ask."""
    dates = {one.backend: {"model": one.model, "date": one.date} for one in shutdowns}
    fresh = directory / f"{FILE}.new"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(msgspec.json.encode(dates))
    fresh.replace(directory / FILE)


def read(configuration: Configuration) -> list[Shutdown]:
    """What was heard last, of the backends that still have the same model; empty if nothing was."""
    try:
        raw = (configuration.capture.directory / FILE).read_bytes()
        kept = msgspec.json.decode(raw, type=dict[str, _Kept])
    except (OSError, msgspec.DecodeError):
        return []
    dates = {
        name: kept[name].date
        for name, backend in configuration.backends.items()
        if name in kept and kept[name].model == backend.model
    }
    return list(_shutdowns(configuration, dates))


class ModelWatch:
    """The keeper's: asks once a day. `found` is what was heard last."""

    def __init__(self, configuration: Callable[[], Configuration]) -> None:
        self._configuration = configuration
        self.found: list[Shutdown] = []

    async def run(self) -> None:
        """Ask for ever."""
        await asyncio.sleep(FIRST_S)
        while True:
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - the task's boundary: the keeper does without
                log("model_shutdowns_unknown", level="warning", error=type(error).__name__)
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Ask once, and log what ends soon."""
        configuration = self._configuration()
        self.found, _ = await ask(configuration)
        today = dt.datetime.now(dt.UTC).date()
        for shutdown in soon(self.found, today):
            is_urgent = shutdown.days_left(today) <= URGENT_DAYS
            log(
                "model_shutdown",
                level="error" if is_urgent else "warning",
                backend=shutdown.backend,
                model=shutdown.model,
                date=str(shutdown.date),
                routes=list(shutdown.routes),
            )
        if self.found:
            try:
                write(configuration.capture.directory, self.found)
            except OSError as error:  # a full disk: the next day's try will do
                log("model_shutdowns_not_kept", level="warning", error=str(error))

    def state(self) -> list[dict[str, object]]:
        """For `/state`."""
        today = dt.datetime.now(dt.UTC).date()
        return [
            {
                "backend": one.backend,
                "model": one.model,
                "shutdown_date": str(one.date),
                "days_left": one.days_left(today),
                "routes": list(one.routes),
            }
            for one in sorted(self.found, key=lambda one: one.date)
        ]


class _Kept(msgspec.Struct):
    model: str
    date: dt.date


def _server(backend: Backend) -> Server:
    return backend.scheme, backend.host, backend.port, backend.path_prefix


def _shutdowns(
    configuration: Configuration, dates: Mapping[str, dt.date | None]
) -> Iterator[Shutdown]:
    for name, date in dates.items():
        if date is not None:
            backend = configuration.backends[name]
            yield Shutdown(name, backend.model, date, _routes_to(configuration, name))


def _routes_to(configuration: Configuration, backend: str) -> tuple[str, ...]:
    return tuple(
        route.name
        for route in configuration.policy.routes
        if backend in (*route.candidates, *route.on_failure)
        or (route.escalate is not None and backend in route.escalate.to)
    )
