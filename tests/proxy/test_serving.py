"""The whole tree of processes, from the command line: start, faults, reload, end."""

import signal
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.support.certificates import make_certificates
from tests.support.served import WAIT_S, Served, is_alive
from tests.support.simple_config import SIMPLE, write_config

CHANGED = SIMPLE.replace("candidates: [quick]", "candidates: [other]")
SLOW = SIMPLE.replace("candidates: [quick]", "candidates: [slow]").replace(
    "routes:", "  slow: {adapter: simulated, profile: {like: local, first_token: 1s}}\nroutes:"
)


def serve_and_fail(config: Path) -> tuple[int, str]:
    """Exit code and standard error of a start that must not work."""
    finished = subprocess.run(
        [sys.executable, "-m", "proxy.cli", "serve", "--config", str(config)],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert "ready" not in finished.stdout
    return finished.returncode, finished.stderr


def test_is_ready_soon_and_answers_on_both_ports(tmp_path: Path) -> None:
    with Served(write_config(tmp_path), workers=2) as served:
        assert served.ready_s < 3.0  # the goal is 1 s on an idle machine
        assert served.workers == 2
        assert served.get("/readyz")[0] == 200
        status, headers, _ = served.chat()
        assert (status, headers["x-pointsman-policy"]) == (200, served.policy)
        names = set(served.children())
    assert names == {"keeper", "worker 0", "worker 1", "simulator"}
    assert served.process.returncode == 0


def test_files_and_directories_are_closed_to_others(tmp_path: Path) -> None:
    with Served(write_config(tmp_path)) as served:
        served.chat()
        paths = [served.directory, *served.directory.rglob("*")]
        assert {path.stat().st_mode & 0o077 for path in paths} == {0}


def test_a_second_instance_on_one_directory_is_refused(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with Served(config) as served:
        code, errors = serve_and_fail(config)
        assert code == 1
        assert str(served.process.pid) in errors
        assert served.get("/readyz")[0] == 200


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with Served(write_config(tmp_path)) as served:
        other = tmp_path / "other"
        other.mkdir()
        config = write_config(other, SIMPLE.replace("127.0.0.1:0", served.listen, 1))
        code, errors = serve_and_fail(config)
        assert (code, f"cannot listen on {served.listen}" in errors) == (1, True)


def test_a_bad_file_is_refused_with_its_lines(tmp_path: Path) -> None:
    config = write_config(tmp_path, SIMPLE.replace("[quick]", "[quikc]"))
    code, errors = serve_and_fail(config)
    assert code == 2
    assert f"{config}:7:" in errors


def test_a_killed_worker_is_back_on_its_old_socket(tmp_path: Path) -> None:
    with Served(write_config(tmp_path)) as served:
        served.chat()
        killed = served.kill_child("worker 0")
        assert served.chat()[0] == 200  # it waited in the socket's queue
        assert served.wait_for_child("worker 0", other_than=killed) != killed
        served.wait_until("/readyz", lambda answer: answer["status"] == "ready")


def test_a_killed_keeper_costs_no_request_and_comes_back(tmp_path: Path) -> None:
    with Served(write_config(tmp_path)) as served:
        killed = served.kill_child("keeper")
        assert served.chat()[0] == 200
        served.wait_for_child("keeper", other_than=killed)
        served.wait_until("/readyz", lambda answer: answer["status"] == "ready")
        served.wait_until("/state", lambda answer: answer["fold"]["failures"] == 0)


def test_a_killed_supervisor_takes_all_along_and_the_next_start_works(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with Served(config) as first:
        pids = list(first.children().values())
        first.process.kill()
        first.process.wait(WAIT_S)
        deadline = time.monotonic() + WAIT_S
        while any(map(is_alive, pids)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    with Served(config) as second:
        assert second.chat()[0] == 200


def test_a_good_reload_swaps_the_policy_in_every_worker(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with Served(config, workers=2) as served:
        config.write_text(CHANGED)
        status, answer = served.get("/reload", method="POST")
        assert status == 200
        assert answer["policy"] != served.policy
        seen = {served.chat()[1]["x-pointsman-policy"] for _ in range(12)}
        assert seen == {answer["policy"]}


def test_a_bad_reload_changes_nothing_and_says_where(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with Served(config) as served:
        config.write_text(SIMPLE.replace("[quick]", "[quikc]"))
        status, answer = served.get("/reload", method="POST")
        assert status == 422
        (error,) = answer["errors"]
        assert (error["file"], error["line"]) == (str(config), 7)
        assert "did you mean 'quick'" in error["message"]
        assert served.chat()[1]["x-pointsman-policy"] == served.policy
        served.wait_for_child("worker 0", other_than=served.kill_child("worker 0"))
        assert served.chat()[1]["x-pointsman-policy"] == served.policy


@pytest.mark.parametrize("trigger", ["SIGHUP", "save"])
def test_reloads_on_a_hangup_and_on_a_save(tmp_path: Path, trigger: str) -> None:
    config = write_config(tmp_path)
    with Served(config) as served:
        config.write_text(CHANGED)
        if trigger == "SIGHUP":
            served.process.send_signal(signal.SIGHUP)
        served.wait_until("/state", lambda answer: answer["policy"] != served.policy)


def test_a_simulated_backend_added_by_a_reload_is_played(tmp_path: Path) -> None:
    text = SIMPLE.replace("candidates: [quick]", "candidates: [fresh]")
    config = write_config(tmp_path)
    with Served(config) as served:
        old = served.children()["simulator"]
        config.write_text(
            text.replace("routes:", "  fresh: {adapter: simulated, profile: local}\nroutes:")
        )
        assert served.get("/reload", method="POST")[0] == 200
        served.wait_for_child("simulator", other_than=old)
        status, headers, _ = served.chat()
        assert (status, headers["x-pointsman-backend"]) == (200, "fresh")


def test_the_drain_finishes_what_is_served_and_then_ends(tmp_path: Path) -> None:
    with Served(write_config(tmp_path, SLOW)) as served:
        answers: list[int] = []
        client = threading.Thread(target=lambda: answers.append(served.chat("slow")[0]))
        client.start()
        served.wait_until("/state", is_serving)
        served.process.send_signal(signal.SIGTERM)
        served.wait_until("/readyz", lambda answer: answer["status"] == "draining")
        with pytest.raises(OSError):  # noqa: PT011 (refused or reset)
            served.chat()
        client.join(WAIT_S)
        assert answers == [200]
        assert served.process.wait(WAIT_S) == 0


def is_serving(state: dict[str, dict[str, dict[str, dict[str, object]]]]) -> bool:
    """Whether worker 0 has a request in its hands."""
    return bool(state["workers"].get("worker 0", {}).get("state", {}).get("in_flight"))


def test_a_second_signal_does_not_wait_for_anyone(tmp_path: Path) -> None:
    text = SLOW.replace("first_token: 1s", "first_token: 20s")
    with Served(write_config(tmp_path, text)) as served:
        client = threading.Thread(target=served.chat_in_vain, args=("slow",))
        client.start()
        served.wait_until("/state", is_serving)
        served.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert served.process.poll() is None
        served.process.send_signal(signal.SIGTERM)
        started_s = time.monotonic()
        assert served.process.wait(WAIT_S) == 0
        assert time.monotonic() - started_s < 3.0
        client.join(WAIT_S)


def test_a_key_made_while_serving_is_taken_up_and_a_revoked_one_refused(tmp_path: Path) -> None:
    config = write_config(tmp_path, SIMPLE + "keys: {file: keys.yaml}\n")
    with Served(config) as served:
        assert served.chat()[0] == 401
        secret = run_key(config, "create", "--caller", "app").strip()
        wait_for_status(served, secret, 200)
        key_id = (tmp_path / "keys.yaml").read_text().split("id: ")[1].split(",")[0]
        run_key(config, "revoke", key_id)
        wait_for_status(served, secret, 401)
        assert served.get("/state")[0] == 200  # a data key is not asked for here, nor of use


def run_key(config: Path, *words: str) -> str:
    """One `pointsman key` command's output."""
    return subprocess.run(
        [sys.executable, "-m", "proxy.cli", "key", *words, "--config", str(config)],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=True,
    ).stdout


def wait_for_status(served: Served, secret: str, status: int) -> None:
    """Ask with a key until the answer has a status."""
    deadline = time.monotonic() + WAIT_S
    headers = {"authorization": f"Bearer {secret}", "content-type": "application/json"}
    body = b'{"model": "auto", "messages": [{"role": "user", "content": "hi"}]}'
    while True:
        found, _, _ = served.exchange(
            "/v1/chat/completions", port="listen", method="POST", body=body, headers=headers
        )
        if found == status:
            return
        assert time.monotonic() < deadline, f"still {found}"
        time.sleep(0.05)


def test_a_tree_leaves_nothing_behind(tmp_path: Path) -> None:
    with TemporaryDirectory(prefix="pm") as short:
        with Served(write_config(tmp_path), environment={"TMPDIR": short}) as served:
            pids = [served.process.pid, *served.children().values()]
            assert list(Path(short).iterdir())
        assert list(Path(short).iterdir()) == []
    assert not (served.directory / "running.json").exists()
    assert not any(map(is_alive, pids))


def test_a_long_temporary_folder_does_not_stop_it(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    with Served(write_config(tmp_path), environment={"TMPDIR": str(long)}) as served:
        assert status_of(f"http://{served.listen}/healthz") == 200


def test_the_listener_speaks_tls_and_a_hangup_takes_a_new_certificate(tmp_path: Path) -> None:
    tls = "{address: 127.0.0.1:0, tls: {certificate: server.pem, key: server.key}}"
    first = make_certificates(tmp_path).client_context()
    text = SIMPLE.replace("listen: 127.0.0.1:0", f"listen: {tls}")
    with Served(write_config(tmp_path, text)) as served:
        assert served.scheme == "https"
        url = f"https://{served.listen}/healthz"
        assert status_of(url, first) == 200
        second = make_certificates(tmp_path).client_context()
        served.process.send_signal(signal.SIGHUP)
        served.wait_until("/state", lambda answer: worker_generation(answer) == 1)
        assert status_of(url, second) == 200
        with pytest.raises(URLError, match="CERTIFICATE_VERIFY_FAILED"):
            status_of(url, first)


def worker_generation(state: dict[str, dict[str, dict[str, int]]]) -> int:
    """The configuration that worker 0 has taken up."""
    return state["workers"].get("worker 0", {}).get("generation", 0)


def status_of(url: str, context: ssl.SSLContext | None = None) -> int:
    """What a client with this trust is answered."""
    with urlopen(url, context=context, timeout=WAIT_S) as answer:
        return int(answer.status)
