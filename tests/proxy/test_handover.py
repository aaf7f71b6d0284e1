"""Binding: shared ports, ports that are taken, and what children keep."""

import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.handover import BindError, Handover, prepare, remove_control
from proxy.listening import Address

ANYWHERE = Address("127.0.0.1", 0)

Prepare = Callable[..., Handover]


@pytest.fixture
def prepared(tmp_path: Path) -> Iterator[Prepare]:
    made: list[Handover] = []

    def run(*, listen: Address = ANYWHERE, admin: Address = ANYWHERE, workers: int = 2) -> Handover:
        made.append(prepare(tmp_path, listen=listen, admin=admin, workers=workers))
        return made[-1]

    yield run
    for handover in made:
        handover.close()


def test_workers_share_one_port_and_both_get_connections(prepared: Prepare) -> None:
    handover = prepared(workers=2)
    address = handover.listen_address
    assert {s.getsockname()[1] for s in handover.worker_sockets} == {address.port}
    clients = [socket.create_connection((address.host, address.port)) for _ in range(64)]
    try:
        accepted = [accept_all(listening) for listening in handover.worker_sockets]
        assert sum(accepted) == 64
        assert min(accepted) > 0  # all 64 on one side: once in 2**63
    finally:
        for client in clients:
            client.close()


def accept_all(listening: socket.socket) -> int:
    count = 0
    while True:
        try:
            connection, _ = listening.accept()
        except BlockingIOError:
            return count
        connection.close()
        count += 1


def test_a_second_instance_cannot_take_the_port(prepared: Prepare) -> None:
    taken = prepared().listen_address
    with pytest.raises(BindError, match=f"{taken}: Address already in use"):
        prepared(listen=taken)


def test_a_taken_admin_port_is_named_and_nothing_stays_open(prepared: Prepare) -> None:
    taken = prepared().admin_address
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(BindError, match=str(taken)):
        prepared(admin=taken)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_an_unknown_host_is_named(prepared: Prepare) -> None:
    with pytest.raises(BindError, match=r"no-such-host\.invalid:1"):
        prepared(listen=Address("no-such-host.invalid", 1))


def test_the_control_socket_is_private_and_goes_at_the_end(tmp_path: Path) -> None:
    handover = prepare(tmp_path, listen=ANYWHERE, admin=ANYWHERE, workers=1)
    folder = handover.control_path.parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    handover.close()
    assert not folder.exists()


def test_removes_only_what_looks_like_its_own_control_socket(tmp_path: Path) -> None:
    other = tmp_path / "control.sock"
    other.write_text("not ours")
    remove_control(other)
    assert other.exists()


def test_a_child_keeps_only_its_own_sockets(prepared: Prepare) -> None:
    handover = prepared(workers=3)
    pid = os.fork()
    if pid == 0:
        handover.keep_only(handover.worker_sockets[1])
        left = [s.fileno() >= 0 for s in handover.worker_sockets]
        is_right = left == [False, True, False] and handover.admin_socket.fileno() < 0
        os._exit(0 if is_right else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_ipv6_addresses_are_written_in_brackets(prepared: Prepare) -> None:
    handover = prepared(listen=Address("::1", 0))
    assert str(handover.listen_address).startswith("[::1]:")
