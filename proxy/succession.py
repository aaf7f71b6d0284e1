"""A restart without a gap: the supervisor becomes the new program, and keeps everything open.

    SIGUSR2 -> rehearsal: would the new program and the file as it is now start?  (else: no change)
            -> execve in place: the same process id, the same sockets, the same lock
            -> new workers on the old sockets; each old one drains once its heir is ready

What the old image has to say to the new one is in one environment variable. The children are the
process's own before and after, so nobody else has to know; whoever watches the process (systemd,
a container) sees it run on.
"""

import os
import signal
import socket
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pointsman.errors import ConfigError

from .active import build_active, read_active
from .configuration import Configuration
from .handover import Handover, bound_address
from .reloading import needs_restart

INHERITANCE = "POINTSMAN_INHERITANCE"
REHEARSAL = "POINTSMAN_REHEARSAL"
REHEARSAL_S = 30.0


class Relative(msgspec.Struct, frozen=True):
    """A child of the old image. `kill_s` (monotonic) where it is already leaving."""

    name: str
    pid: int
    kill_s: float | None = None


class Inheritance(msgspec.Struct, frozen=True):
    """Descriptors by number, and who is alive."""

    worker_sockets: tuple[int, ...]
    admin_socket: int
    simulator_socket: int
    control_socket: int
    control_path: str
    pipes: tuple[int, int, int, int]
    lock: int
    relatives: tuple[Relative, ...]

    def handover(self, directory: Path) -> Handover:
        """The same sockets and pipes as objects."""
        opened = [socket.socket(fileno=number) for number in self._sockets()]
        for one in opened:
            one.setblocking(False)
        *workers, admin, simulator, control = opened
        status_read, status_write, life_read, life_write = self.pipes
        for number in (*self._sockets(), *self.pipes, self.lock):
            os.set_inheritable(number, False)
        return Handover(
            directory=directory,
            worker_sockets=tuple(workers),
            admin_socket=admin,
            simulator_socket=simulator,
            control_socket=control,
            control_path=Path(self.control_path),
            listen_address=bound_address(workers[0]),
            admin_address=bound_address(admin),
            simulator_address=bound_address(simulator),
            status_read=status_read,
            status_write=status_write,
            life_read=life_read,
            life_write=life_write,
        )

    def _sockets(self) -> tuple[int, ...]:
        return (
            *self.worker_sockets,
            self.admin_socket,
            self.simulator_socket,
            self.control_socket,
        )


@dataclass(frozen=True, slots=True)
class Succession:
    """How this process is started anew. `command` is the program and its arguments."""

    handover: Handover
    lock: int
    command: tuple[str, ...]

    def rehearse(self) -> int:
        """Start the new program as far as it goes without serving; its process id."""
        environment = {**os.environ, REHEARSAL: "1"}
        return os.posix_spawn(self.command[0], self.command, environment)

    def succeed(self, relatives: Iterable[Relative]) -> None:
        """Become the new program. Returns only by raising OSError; then nothing has changed."""
        handover = self.handover
        inheritance = Inheritance(
            worker_sockets=tuple(one.fileno() for one in handover.worker_sockets),
            admin_socket=handover.admin_socket.fileno(),
            simulator_socket=handover.simulator_socket.fileno(),
            control_socket=handover.control_socket.fileno(),
            control_path=str(handover.control_path),
            pipes=(
                handover.status_read,
                handover.status_write,
                handover.life_read,
                handover.life_write,
            ),
            lock=self.lock,
            relatives=tuple(relatives),
        )
        numbers = (*inheritance._sockets(), *inheritance.pipes, inheritance.lock)
        for number in numbers:
            os.set_inheritable(number, True)
        environment = {**os.environ, INHERITANCE: msgspec.json.encode(inheritance).decode()}
        try:
            os.execve(self.command[0], self.command, environment)
        finally:
            for number in numbers:
                os.set_inheritable(number, False)


def take_inheritance() -> Inheritance | None:
    """What the image before this one left; None at a first start. Once only."""
    text = os.environ.pop(INHERITANCE, None)
    return None if text is None else msgspec.json.decode(text, type=Inheritance)


def is_rehearsal(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process only shows that it would start."""
    return REHEARSAL in environment


def rehearse(configuration: Configuration) -> None:
    """Raises ConfigError for what cannot change in the place of a running service."""
    running, _ = build_active(read_active(configuration.capture.directory))
    problems = needs_restart(running, configuration)
    if problems:
        raise ConfigError(problems)


def own_command() -> tuple[str, ...]:
    """This program as it was started, whatever has become of its title."""
    return (sys.executable, *sys.orig_argv[1:])


SIGNALS = (signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
"""What a supervisor hears; held back from before the change of image until it listens again."""
