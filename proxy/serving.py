"""Wiring of `pointsman serve`: lock, bind, keep the configuration, start the supervisor.

Everything that can be wrong from the outside (directory in use, port taken) is found here,
before the first process is forked; the heavy modules are imported here too, so that the
children share them.
"""

import os
import resource
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from telemetry.lock import DirectoryLock
from telemetry.logs import log
from telemetry.reserve import give_room, keep_room

from .active import Active, read_active, write_active
from .configuration import Configuration
from .handover import Handover, prepare, remove_control
from .locked import read_lock_text
from .reloading import build_current, keys_text_of
from .running import forget_running, read_running, write_running
from .succession import Inheritance, Succession, own_command, take_inheritance
from .supervisor import Child, Supervisor
from .worker import run_worker


def serve(configuration: Configuration, *, workers: int) -> int:
    """Run until stopped; returns the exit code.

    Raises telemetry.errors.Locked for a directory in use, BindError, ConfigError for keys
    that cannot be used, OSError where the directory cannot be written. For the main thread of
    a process of its own: it changes the umask and limits, and forks.
    """
    os.umask(0o077)
    _set_limits()
    directory = configuration.capture.directory
    give_room(directory)
    inherited = take_inheritance()
    lock = DirectoryLock(directory, "serve")
    if inherited is not None:
        lock.take_over(inherited.lock)
    with lock:
        current = build_current(_first_active(configuration))
        write_active(directory, current.active)
        if inherited is not None:
            handover = inherited.handover(directory)
        else:
            handover = _prepare(configuration, workers)
        try:
            write_running(handover)
            keep_room(directory)
            log("starting", workers=workers, policy=configuration.policy.digest)
            succession = Succession(handover, lock.descriptor, own_command())
            return _supervise(configuration, handover, succession, inherited)
        finally:
            handover.close()
            forget_running(directory)


def _prepare(configuration: Configuration, workers: int) -> Handover:
    directory = configuration.capture.directory
    left = read_running(directory)
    if left is not None:  # a supervisor that was killed could not tidy up
        remove_control(Path(left.control))
    return prepare(
        directory,
        listen=configuration.listen.address,
        admin=configuration.admin.address,
        workers=workers,
    )


def ready_line(handover: Handover, *, is_tls: bool, policy: str) -> str:
    """What is printed once everybody listens; the words are fixed."""
    scheme = "https" if is_tls else "http"
    return (
        f"pointsman ready listen={scheme}://{handover.listen_address} "
        f"admin=http://{handover.admin_address} "
        f"workers={len(handover.worker_sockets)} policy={policy}"
    )


def _set_limits() -> None:
    """As many open files as this user may have, and no core dumps: prompts would be in them."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # some systems refuse "unlimited"; then it stays
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _supervise(
    configuration: Configuration,
    handover: Handover,
    succession: Succession,
    inherited: Inheritance | None,
) -> int:
    workers = [
        Child(f"worker {index}", Run(handover, index))
        for index in range(len(handover.worker_sockets))
    ]
    simulator = Child(
        "simulator",
        lambda: _simulate(handover),
        is_awaited=False,
        due_s=0.0 if configuration.simulated else None,
    )
    children = [Child("keeper", lambda: _keep(handover)), *workers, simulator]
    line = ready_line(
        handover,
        is_tls=configuration.listen.tls is not None,
        policy=configuration.policy.digest,
    )
    relatives = inherited.relatives if inherited is not None else ()
    return Supervisor(handover, children, line, succession=succession, relatives=relatives).run()


@dataclass(frozen=True, slots=True)
class Run:
    """One worker's life, as the supervisor's `Child` wants it."""

    handover: Handover
    index: int

    def __call__(self) -> None:
        """Serve until told to stop."""
        run_worker(self.handover, self.index)


def _keep(handover: Handover) -> None:
    from .keeper import run_keeper  # only this process needs SQLite and aiohttp

    run_keeper(handover)


def _simulate(handover: Handover) -> None:
    from adapters.simulated.server import serve_simulated  # only this process plays a server

    handover.keep_only(handover.simulator_socket)
    configuration = build_current(read_active(handover.directory)).configuration
    serve_simulated(handover.simulator_socket, configuration.simulated)


def _first_active(configuration: Configuration) -> Active:
    return Active(
        generation=0,
        file=str(configuration.file.absolute()),
        text=configuration.text,
        keys_text=keys_text_of(configuration),
        lock_text=read_lock_text(configuration.file),
        model=configuration.model,
    )
