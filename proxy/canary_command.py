"""`pointsman canary`: asks the running server by its admin port, or the state it left behind.

Where a server runs it is the one that knows and acts; where none does, the state beside the
captures is read, or changed for the next start, with the directory held so that none starts
meanwhile.
"""

import http.client
import time
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

import msgspec

from pointsman.errors import PointsmanError
from telemetry.errors import Locked
from telemetry.evidence import cursor_now
from telemetry.lock import DirectoryLock

from . import canaries, promises
from .configuration import Configuration
from .running import Running, read_running
from .trials_file import Trials, read_trials, write_trials

ANSWER_S: Final = 5.0
EVERYWHERE: Final = MappingProxyType({"0.0.0.0": "127.0.0.1", "[::]": "[::1]"})
"""How this machine itself calls a server that listens on all its addresses."""

Json = dict[str, Any]


class Unreachable(PointsmanError):
    """The server did not answer, or not as asked."""


def is_served(configuration: Configuration) -> bool:
    """Whether a server runs on the directory."""
    return _running(configuration) is not None


def read_canaries(configuration: Configuration) -> list[Json]:
    """How every canary stands. Raises Unreachable."""
    running = _running(configuration)
    if running is not None:
        found: list[Json] = _ask(configuration, running, "GET", "/canary")["canaries"]
        return found
    trials = _state(configuration)
    routes = canaries.routes_with_canary(configuration)
    return [canaries.describe(routes[name], run) for name, run in trials.runs.items()]


def say(configuration: Configuration, route: str, word: str, reason: str) -> Json:
    """`start`, `next`, `promote` or `rollback`; how the canary stands then.

    Raises Unreachable, and canaries.BadCommand where it cannot do that now.
    """
    running = _running(configuration)
    if running is not None:
        body = msgspec.json.encode({"reason": reason})
        return _ask(configuration, running, "POST", f"/canary/{quote(route, safe='')}/{word}", body)
    directory = configuration.capture.directory
    with _held(directory):
        trials = canaries.command(
            configuration, _state(configuration), route, word, now_us=_now_us(), reason=reason
        )
        write_trials(directory, trials)
    return canaries.describe(canaries.routes_with_canary(configuration)[route], trials.runs[route])


def _running(configuration: Configuration) -> Running | None:
    """Who serves the directory now."""
    directory = configuration.capture.directory
    running = read_running(directory)
    if running is None:
        return None
    try:
        with _held(directory):
            return None  # it was killed and could not say so
    except Unreachable:
        return running


def _held(directory: Path) -> DirectoryLock:
    """The directory, so that no server starts. Raises Unreachable where one runs."""
    lock = DirectoryLock(directory, "serve")
    try:
        lock.acquire(0.0)
    except Locked as error:
        raise Unreachable(f"a server holds {directory} but does not answer: {error}") from None
    return lock


def _state(configuration: Configuration) -> Trials:
    """What a server that starts now would go on from."""
    directory = configuration.capture.directory
    trials = read_trials(directory)
    if trials is None:
        trials = Trials(cursor=cursor_now(directory))
    now_us = _now_us()
    trials = canaries.follow(configuration, trials, now_us=now_us)
    return promises.follow(configuration, trials, now_us=now_us)


def _ask(
    configuration: Configuration, running: Running, method: str, path: str, body: bytes = b""
) -> Json:
    host, _, port = running.admin.rpartition(":")
    host = EVERYWHERE.get(host, host).strip("[]")
    headers = {"content-type": "application/json"}
    token = configuration.admin.token
    if token is not None:
        headers["authorization"] = f"Bearer {token.reveal()}"
    connection = http.client.HTTPConnection(host, int(port), timeout=ANSWER_S)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        data = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"the admin port {running.admin} does not answer: {error}") from None
    finally:
        connection.close()
    try:
        found: Json = msgspec.json.decode(data)
    except msgspec.DecodeError:
        raise Unreachable(f"the admin port {running.admin} answered {answer.status}") from None
    if answer.status == 200:
        return found
    message = found.get("error", {}).get("message", f"status {answer.status}")
    if answer.status == 409:
        raise canaries.BadCommand(message)
    raise Unreachable(message)


def _now_us() -> int:
    return time.time_ns() // 1000
