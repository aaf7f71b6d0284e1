"""SIGUSR2: another program on the same sockets, and nobody notices."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from pointsman.errors import ConfigError
from proxy.active import Active, write_active
from proxy.configuration import parse_configuration
from proxy.handover import prepare
from proxy.listening import Address
from proxy.succession import (
    INHERITANCE,
    REHEARSAL,
    Relative,
    Succession,
    is_rehearsal,
    own_command,
    rehearse,
    take_inheritance,
)
from tests.proxy.test_serving import serve_and_fail
from tests.support.command import all_captures
from tests.support.raw_client import RawClient, post
from tests.support.served import WAIT_S, Served, is_alive
from tests.support.simple_config import SIMPLE, write_config

ANYWHERE = Address("127.0.0.1", 0)
SLOW = SIMPLE.replace(
    "routes:",
    "  slow: {adapter: simulated, profile: {first_token: 100ms, tokens_per_second: 15}}\nroutes:",
)
ASKED = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}


def restart(served: Served) -> None:
    """Ask for it and wait for the new ready line."""
    served.process.send_signal(signal.SIGUSR2)
    assert served.process.stdout is not None
    assert served.process.stdout.readline() == served.line, served.log()


def wait_for_event(served: Served, name: str, count: int = 1) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while len(served.events(name)) < count:
        assert time.monotonic() < deadline_s, served.log()
        time.sleep(0.01)


class Clients(threading.Thread):
    """New connections one after another until told to stop; what did not work is kept."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self._port = int(address.rpartition(":")[2])
        self._stop_asked = threading.Event()
        self.answered = 0
        self.troubles: list[str] = []

    def run(self) -> None:
        while not self._stop_asked.is_set():
            try:
                with RawClient(self._port) as client:
                    for _ in range(3):
                        answer = client.ask(ASKED)
                        if answer.status != 200:
                            self.troubles.append(f"status {answer.status}: {answer.body!r}")
                        self.answered += 1
                        if answer.header("connection") == "close":
                            break
            except Exception as error:  # noqa: BLE001 - whatever it is, the test names it
                self.troubles.append(repr(error))

    def stop(self) -> None:
        self._stop_asked.set()
        self.join(WAIT_S)


def test_new_processes_and_not_one_failed_request(tmp_path: Path) -> None:
    with Served(write_config(tmp_path), workers=2) as served:
        clients = [Clients(served.listen) for _ in range(2)]
        for one in clients:
            one.start()
        seen = [served.children()]
        for _ in range(3):
            restart(served)
            seen.append(served.children())
            assert served.get("/readyz")[0] == 200
        for one in clients:
            one.stop()
        assert [trouble for one in clients for trouble in one.troubles] == []
        answered = sum(one.answered for one in clients)
        assert answered > 30
        pids = [pid for children in seen for name, pid in children.items() if name != "simulator"]
        assert len(set(pids)) == len(pids) == 12
        assert all(set(children) == set(seen[0]) for children in seen)
    assert served.process.returncode == 0
    kept = all_captures(tmp_path / "config.yaml")
    assert len({capture["id"] for capture in kept}) == len(kept) == answered
    assert not any(is_alive(pid) for pid in pids)
    assert [line for line in served.log().splitlines() if '"level":"info"' not in line] == []


def test_streams_under_way_end_whole(tmp_path: Path) -> None:
    with Served(write_config(tmp_path, SLOW), workers=1) as served:
        with RawClient(int(served.listen.rpartition(":")[2])) as client:
            client.send(post({**ASKED, "model": "slow", "stream": True}))
            answer = client.read_head()
            old = served.children()["worker 0"]
            restart(served)
            assert served.children()["worker 0"] != old
            while client.read_chunk(answer):
                pass
            assert answer.is_whole
            assert answer.body.endswith(b"data: [DONE]\n\n")
            assert client.is_closed()
        deadline_s = time.monotonic() + WAIT_S
        while is_alive(old):
            assert time.monotonic() < deadline_s
            time.sleep(0.01)


def test_what_would_not_start_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with Served(config) as served:
        before = served.children()
        for number, text in enumerate(
            ["routes: 1\n", SIMPLE.replace("listen: 127.0.0.1:0", "listen: 127.0.0.1:1")], start=1
        ):
            config.write_text(text)
            served.process.send_signal(signal.SIGUSR2)
            wait_for_event(served, "restart_refused", number)
            assert served.children() == before
            assert served.chat()[0] == 200
        config.write_text(SIMPLE)
        restart(served)
        assert served.chat()[0] == 200


def test_one_restart_at_a_time(tmp_path: Path) -> None:
    with Served(write_config(tmp_path)) as served:
        served.process.send_signal(signal.SIGUSR2)
        time.sleep(0.05)
        served.process.send_signal(signal.SIGUSR2)
        wait_for_event(served, "restart_refused")
        assert served.process.stdout is not None
        assert served.process.stdout.readline() == served.line


def test_a_second_instance_is_refused_after_a_restart_too(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with Served(config) as served:
        restart(served)
        code, errors = serve_and_fail(config)
        assert code == 1
        assert "serve.lock" in errors
        assert served.chat()[0] == 200


def test_stops_cleanly_in_the_middle_of_a_restart(tmp_path: Path) -> None:
    with Served(write_config(tmp_path, SLOW)) as served:
        with RawClient(int(served.listen.rpartition(":")[2])) as client:
            client.send(post({**ASKED, "model": "slow", "stream": True}))
            answer = client.read_head()
            served.process.send_signal(signal.SIGUSR2)
            wait_for_event(served, "starting", 2)
            served.process.send_signal(signal.SIGTERM)
            while client.read_chunk(answer):
                pass
            assert answer.is_whole
        assert served.process.wait(WAIT_S) == 0


# -- in pieces -----------------------------------------------------------------------------------


def test_what_is_handed_on_comes_back_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, str]] = []

    def become(program: str, command: object, environment: dict[str, str]) -> None:
        given.append(environment)
        raise OSError("not in a test")

    monkeypatch.setattr(os, "execve", become)
    handover = prepare(tmp_path, listen=ANYWHERE, admin=ANYWHERE, workers=2)
    lock = os.open(tmp_path, os.O_RDONLY)
    relatives = [Relative("keeper", 1), Relative("worker 0", 2, 5.0)]
    with pytest.raises(OSError, match="not in a test"):
        Succession(handover, lock, ("program",)).succeed(relatives)
    assert not os.get_inheritable(lock)
    monkeypatch.setenv(INHERITANCE, given[0][INHERITANCE])
    inherited = take_inheritance()
    assert inherited is not None
    assert take_inheritance() is None
    assert inherited.relatives == tuple(relatives)
    again = inherited.handover(tmp_path)
    assert again.listen_address == handover.listen_address
    assert again.admin_address == handover.admin_address
    assert [one.fileno() for one in again.worker_sockets] == [
        one.fileno() for one in handover.worker_sockets
    ]
    assert (again.life_read, again.control_path) == (handover.life_read, handover.control_path)
    for one in (*again.worker_sockets, again.admin_socket, again.simulator_socket):
        one.detach()
    again.control_socket.detach()
    os.close(lock)
    handover.close()


def test_a_rehearsal_knows_what_cannot_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_rehearsal()
    monkeypatch.setenv(REHEARSAL, "1")
    assert is_rehearsal()
    file = tmp_path / "config.yaml"
    configuration = parse_configuration(SIMPLE, file=file, environment={})
    configuration.capture.directory.mkdir()
    write_active(configuration.capture.directory, Active(0, str(file), SIMPLE))
    rehearse(configuration)
    text = SIMPLE.replace("admin: 127.0.0.1:0", "admin: 127.0.0.1:1")
    with pytest.raises(ConfigError, match="admin changed"):
        rehearse(parse_configuration(text, file=file, environment={}))
    assert own_command()[1:]
