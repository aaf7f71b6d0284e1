"""A model kept serving: started, watched, and started again where it dies or falls silent."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from .local import LocalModelError, LocalServer

WATCH_S: Final = 2.0
SILENT_MAX: Final = 3
"""Health checks in a row without an answer; a server that is busy answers all the same."""
RESTARTS_MAX: Final = 5
"""Within RESTARTS_S: beyond, something is wrong that a restart does not mend."""
RESTARTS_S: Final = 300.0


class ServedModel(msgspec.Struct, frozen=True):
    """What is served, and how."""

    name: str
    path: Path
    template: Path | None = None
    port: int | None = None
    threads: int = 1


def config_line(served: ServedModel, base_url: str) -> str:
    """The backend, for the configuration."""
    name = served.name.replace("@", "-")
    return (
        f"{name}: {{adapter: openai, base_url: {base_url}, model: {served.path.stem},"
        " price: {per_hour: 0}, logprobs: true}"
    )


def serve_model(
    served: ServedModel,
    *,
    log: Path,
    say: Callable[[str], None],
    should_stop: Callable[[], bool],
    watch_s: float = WATCH_S,
    make: Callable[..., LocalServer] = LocalServer,
) -> None:
    """Serve until `should_stop`; the port stays the same over restarts.

    Raises LocalModelError where it does not start, or dies again and again.
    """
    port = served.port
    restarts: list[float] = []
    while not should_stop():
        server = make(
            served.path, threads=served.threads, log=log, port=port, template=served.template
        )
        with server:
            port = server.port
            if not restarts:
                say(f"{served.name} is served at {server.base_url}")
            _watch(server, should_stop, watch_s)
        if should_stop():
            return
        now_s = time.monotonic()
        restarts = [moment for moment in restarts if now_s - moment < RESTARTS_S] + [now_s]
        if len(restarts) > RESTARTS_MAX:
            raise LocalModelError(f"it ended {len(restarts)} times in {RESTARTS_S:g} s; see {log}")
        say(f"{served.name} ended or fell silent; started again ({len(restarts)})")


def _watch(server: LocalServer, should_stop: Callable[[], bool], watch_s: float) -> None:
    """Return when it is to stop, has ended, or has been silent for too long."""
    silent = 0
    while not should_stop() and server.is_running and silent < SILENT_MAX:
        time.sleep(watch_s)
        silent = 0 if server.is_healthy() else silent + 1
