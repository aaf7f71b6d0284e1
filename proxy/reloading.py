"""A new configuration: build, validate, keep, swap in every worker; or change nothing.

Asked for by SIGHUP, by `POST /reload`, or by the file (or `keys.yaml`, the lock beside it, the
fitted models) looking different; an editor that saves by rename shows as a new inode. One reload
runs at a time. What a running process cannot change (addresses, the data directory, how durably
it writes) is refused, and so is a file whose probes fail.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from pointsman.document import MapNode, Position, parse
from pointsman.errors import ConfigError, Problem
from policies.probes import run_probes
from telemetry.fitted_file import fitted_path
from telemetry.logs import log

from .active import Active, build_active, write_active
from .configuration import Configuration, load_configuration
from .keys import KeyFileError, Keys, load_keys, read_keys_text
from .locked import lock_path, read_lock_text

POLL_S = 0.5

Signature = tuple[int, int, int] | None
"""Modification time in nanoseconds, size, inode; None where there is no file."""


@dataclass(frozen=True, slots=True)
class Current:
    """What is in force. `generation` counts the reloads of this run."""

    active: Active
    configuration: Configuration
    keys: Keys | None

    @property
    def generation(self) -> int:
        """Of the active configuration."""
        return self.active.generation


@dataclass(slots=True)
class Reloader:
    """`spread(generation)` has every worker take it up and returns what went wrong."""

    current: Current
    spread: Callable[[int], Awaitable[list[str]]]
    on_change: Callable[[Current, Current], None]
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    reloads: int = 0
    refusals: int = 0
    last_problems: tuple[Problem, ...] = ()
    """Of the last try; empty when it worked."""
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _seen: tuple[Signature, ...] | None = None

    async def reload(self, cause: str) -> Current:
        """Take up the file as it is now. Raises ConfigError; then everything stays as it was."""
        async with self._lock:
            self._seen = self._signatures()
            try:
                fresh = await asyncio.to_thread(self._build)
                await self._put_in_force(fresh)
            except ConfigError as error:
                self._note_refusal(cause, error)
                raise
            self.reloads += 1
            self.last_problems = ()
            _log_warnings(fresh.configuration)
            log(
                "reloaded",
                cause=cause,
                generation=fresh.generation,
                policy=fresh.configuration.policy.digest,
            )
            return fresh

    async def watch(self) -> None:
        """Reload whenever a file looks different; never ends by itself.

        A file that changed while no keeper was there is noticed at the first look.
        """
        if await asyncio.to_thread(self._differs_from_active):
            await self.reload_quietly("changed while away")
        while True:
            await asyncio.sleep(POLL_S)
            if self._signatures() != self._seen:
                await self.reload_quietly("file changed")

    async def reload_quietly(self, cause: str) -> None:
        """The same where nobody waits for an answer: a refusal is in the log."""
        try:
            await self.reload(cause)
        except ConfigError:
            return  # logged with its lines; the old configuration serves on

    def _build(self) -> Current:
        old = self.current.configuration
        fresh = load_configuration(old.file, environment=self.environment)
        problems = needs_restart(old, fresh)
        problems += [
            Problem(result.file, result.line, result.column, f"probe failed: {result.message}")
            for result in run_probes(fresh.policy)
            if not result.is_ok
        ]
        if problems:
            raise ConfigError(problems)
        active = Active(
            generation=self.current.generation + 1,
            file=str(fresh.file),
            text=fresh.text,
            keys_text=keys_text_of(fresh),
            lock_text=read_lock_text(fresh.file),
            model=fresh.model,
        )
        return build_current(active, self.environment)

    async def _put_in_force(self, fresh: Current) -> None:
        """Keep it and have every worker swap; if one cannot, all go back. Raises ConfigError."""
        old = self.current
        failures = await self._swap(fresh)
        if failures:
            again = msgspec.structs.replace(old.active, generation=fresh.generation + 1)
            unreverted = await self._swap(replace(old, active=again))
            failures += [f"going back: {failure}" for failure in unreverted]
            file = str(fresh.configuration.file)
            raise ConfigError([Problem(file, 1, 1, failure) for failure in failures])

    async def _swap(self, fresh: Current) -> list[str]:
        directory = fresh.configuration.capture.directory
        await asyncio.to_thread(write_active, directory, fresh.active)
        old, self.current = self.current, fresh
        self.on_change(old, fresh)
        return await self.spread(fresh.generation)

    def _note_refusal(self, cause: str, error: ConfigError) -> None:
        self.refusals += 1
        self.last_problems = tuple(error.problems)
        problems = [str(problem) for problem in error.problems]
        log("reload_refused", level="warning", cause=cause, problems=problems)

    def _signatures(self) -> tuple[Signature, ...]:
        configuration = self.current.configuration
        keys_file = configuration.keys_file
        return (
            signature(configuration.file),
            signature(keys_file) if keys_file else None,
            signature(lock_path(configuration.file)),
            signature(fitted_path(configuration.capture.directory)),
        )

    def _differs_from_active(self) -> bool:
        self._seen = self._signatures()
        configuration = self.current.configuration
        try:
            active = self.current.active
            is_same = configuration.file.read_text("utf-8") == configuration.text
            is_same = is_same and read_lock_text(configuration.file) == active.lock_text
            is_same = is_same and configuration.model == active.model
            return not is_same or keys_text_of(configuration) != active.keys_text
        except (OSError, UnicodeDecodeError, ConfigError):
            return True


def build_current(active: Active, environment: Mapping[str, str] = os.environ) -> Current:
    """Parse what is active. Raises ConfigError, also where the keys cannot be used."""
    try:
        return Current(active, *build_active(active, environment=environment))
    except KeyFileError as error:
        raise ConfigError([Problem(active.file, 1, 1, f"keys: {error}")]) from error


def keys_text_of(configuration: Configuration) -> str | None:
    """The key file's content now; None where no key is asked for. Raises ConfigError."""
    if configuration.keys_file is None:
        return None
    try:
        return read_keys_text(configuration.keys_file)
    except KeyFileError as error:
        raise ConfigError([Problem(str(configuration.keys_file), 1, 1, str(error))]) from error


def check_keys(configuration: Configuration) -> None:
    """Raises ConfigError where the keys that are asked for cannot be used."""
    if configuration.keys_file is None:
        return
    try:
        load_keys(configuration.keys_file)
    except KeyFileError as error:
        raise ConfigError([position_of(configuration, "keys").problem(str(error))]) from error


def needs_restart(old: Configuration, fresh: Configuration) -> list[Problem]:
    """What differs and cannot change in a running process, each at its place in the file."""
    before, after = old.capture, fresh.capture
    changed = {
        "listen": fresh.listen != old.listen,
        "admin": fresh.admin.address != old.admin.address,
        "capture": (
            after.directory != before.directory
            or after.durability != before.durability
            or after.on_error != before.on_error
        ),
    }
    return [
        position_of(fresh, key).problem(f"{key} changed: needs restart")
        for key, is_changed in changed.items()
        if is_changed
    ]


def position_of(configuration: Configuration, key: str) -> Position:
    """Where a top-level key stands, or the file's start where it was left out."""
    root = parse(configuration.text, str(configuration.file))
    start = Position(str(configuration.file), 1, 1)
    return root.keys.get(key, start) if isinstance(root, MapNode) else start


def signature(path: Path) -> Signature:
    """What changes whenever a file is written or replaced."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _log_warnings(configuration: Configuration) -> None:
    for warning in configuration.warnings:
        log("config_warning", level="warning", problem=str(warning))
