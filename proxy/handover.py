"""What the supervisor makes once and its children inherit: sockets, pipes, the control address.

One listening socket per worker shares the data port (SO_REUSEPORT): the kernel spreads new
connections over them, and while a worker is being restarted its socket keeps queueing. All
bindings are made before the first fork, so a port that is taken is found at once.
"""

import os
import socket
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pointsman.errors import PointsmanError

from .listening import Address

BACKLOG = 4096  # the kernel caps it at net.core.somaxconn
TEMPORARY_PREFIX = "pointsman-"
CONTROL_NAME = "control.sock"
SOCKET_PATH_BYTES_MAX = 100  # Linux takes 107 bytes, macOS 103
SHORT_FOLDER = "/tmp"


class BindError(PointsmanError):
    """An address cannot be listened on; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Handover:
    """Everything a child may need; it closes what is not its own with `keep_only`.

    `status` is written by children ("worker 0 ready"), `life` is a pipe nobody writes to:
    its end of file tells a child that the supervisor is gone.
    """

    directory: Path
    worker_sockets: tuple[socket.socket, ...]
    admin_socket: socket.socket
    simulator_socket: socket.socket
    control_socket: socket.socket
    control_path: Path
    listen_address: Address
    """As bound; so are the next two. Port 0 has become a real one."""
    admin_address: Address
    simulator_address: Address
    status_read: int
    status_write: int
    life_read: int
    life_write: int

    def tell(self, line: str) -> None:
        """A child's word to the supervisor; shorter than PIPE_BUF, so it arrives whole."""
        os.write(self.status_write, line.encode() + b"\n")

    def keep_only(self, *own: socket.socket) -> None:
        """In a child: close the sockets of the others and the supervisor's pipe ends."""
        for other in (*self.worker_sockets, *self._single_sockets()):
            if other not in own:
                other.close()
        os.close(self.status_read)
        os.close(self.life_write)

    def stop_listening(self) -> None:
        """In the supervisor, at the drain: new connections are refused once workers stop too."""
        for listening in self.worker_sockets:
            listening.close()

    def close(self) -> None:
        """In the supervisor, at the end: close everything, remove the control directory."""
        self.stop_listening()
        for listening in self._single_sockets():
            listening.close()
        for descriptor in (self.status_read, self.status_write, self.life_read, self.life_write):
            os.close(descriptor)
        remove_control(self.control_path)

    def _single_sockets(self) -> tuple[socket.socket, ...]:
        return (self.admin_socket, self.simulator_socket, self.control_socket)


def prepare(directory: Path, *, listen: Address, admin: Address, workers: int) -> Handover:
    """Bind everything. Raises BindError naming the address that is not to be had."""
    opened: list[socket.socket] = []
    try:
        data = _bind_shared(listen, workers, opened)
        admin_socket = _bind(admin, opened)
        simulator = _bind(Address("127.0.0.1", 0), opened)
        control, control_path = _bind_control(opened)
    except BaseException:
        for listening in opened:
            listening.close()
        raise
    status_read, status_write = os.pipe()
    life_read, life_write = os.pipe()
    return Handover(
        directory=directory,
        worker_sockets=data,
        admin_socket=admin_socket,
        simulator_socket=simulator,
        control_socket=control,
        control_path=control_path,
        listen_address=bound_address(data[0]),
        admin_address=bound_address(admin_socket),
        simulator_address=bound_address(simulator),
        status_read=status_read,
        status_write=status_write,
        life_read=life_read,
        life_write=life_write,
    )


def bound_address(listening: socket.socket) -> Address:
    """Host and port a socket really has."""
    name = listening.getsockname()
    return Address(name[0], name[1])


def remove_control(path: Path) -> None:
    """Remove a control socket and its directory, if they are what we made and nothing else."""
    if path.name == CONTROL_NAME and path.parent.name.startswith(TEMPORARY_PREFIX):
        path.unlink(missing_ok=True)
        with suppress(OSError):  # not empty, or gone already
            path.parent.rmdir()


def _bind_shared(
    address: Address, count: int, opened: list[socket.socket]
) -> tuple[socket.socket, ...]:
    """`count` sockets on one port, which is first shown to be nobody else's.

    SO_REUSEPORT alone would let a second instance of the same user take half of the traffic.
    """
    probe = _open(address, ())
    try:
        actual = bound_address(probe)
    finally:
        probe.close()
    sockets = []
    for _ in range(count):
        shared = _open(actual, (socket.SO_REUSEPORT,))
        opened.append(shared)
        sockets.append(_listen(shared, actual))
    return tuple(sockets)


def _bind(address: Address, opened: list[socket.socket]) -> socket.socket:
    listening = _open(address, ())
    opened.append(listening)
    return _listen(listening, address)


def _open(address: Address, options: tuple[int, ...]) -> socket.socket:
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise BindError(f"cannot listen on {address}: {error.strerror or error}") from error
    family, kind, protocol, _, name = found[0]
    listening = socket.socket(family, kind, protocol)
    try:
        for option in (socket.SO_REUSEADDR, *options):
            listening.setsockopt(socket.SOL_SOCKET, option, 1)
        listening.bind(name)
    except OSError as error:
        listening.close()
        raise BindError(f"cannot listen on {address}: {error.strerror or error}") from error
    return listening


def _listen(listening: socket.socket, address: Address) -> socket.socket:
    try:
        listening.listen(BACKLOG)
    except OSError as error:
        raise BindError(f"cannot listen on {address}: {error.strerror or error}") from error
    listening.setblocking(False)
    return listening


def _bind_control(opened: list[socket.socket]) -> tuple[socket.socket, Path]:
    """A unix socket in a private directory; short, because such paths end at 107 bytes."""
    folder = tempfile.gettempdir()
    if len(folder) + len(TEMPORARY_PREFIX) + len(CONTROL_NAME) + 16 > SOCKET_PATH_BYTES_MAX:
        folder = SHORT_FOLDER
    path = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=folder)) / CONTROL_NAME
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    opened.append(control)
    control.bind(str(path))
    return _listen(control, Address(str(path), 0)), path
