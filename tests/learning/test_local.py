"""The local model: fetched once, checked by hash, served by a process that never outlives us."""

import hashlib
import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from learning import local

SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
import threading

class Handler(BaseHTTPRequestHandler):
    polls = 0
    def do_GET(self):
        Handler.polls += 1
        self.send_response(503 if Handler.polls < 3 else 200)
        self.end_headers()
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(sys.argv[2].encode())
    def log_message(self, *a): pass

server = HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.buffer.read()
"""
ANSWER = json.dumps({"choices": [{"message": {"content": " 2"}}]})


def fake_server(tmp_path: Path, answer: str = ANSWER) -> local.LocalServer:
    server = local.LocalServer(tmp_path / "model", log=tmp_path / "log")
    server._command = [sys.executable, "-c", SERVER, str(server.port), answer]
    return server


def test_waits_until_the_model_is_read_and_ends_with_us(tmp_path: Path) -> None:
    server = fake_server(tmp_path)
    with server:
        process = server._process
        assert process is not None
        assert process.poll() is None
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/health") as response:
            assert response.status == 200
    assert process.returncode == 0


def test_a_server_that_dies_is_named_with_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no such model')"]
    server = local.LocalServer(tmp_path / "m", log=tmp_path / "log", command=command)
    with pytest.raises(local.LocalModelError, match=r"ended by itself; see .*log"), server:
        pass
    assert "no such model" in (tmp_path / "log").read_text()


def test_a_server_that_answers_nonsense_is_refused_and_ended(tmp_path: Path) -> None:
    server = fake_server(tmp_path, answer="{}")
    with pytest.raises(local.LocalModelError, match="does not answer"), server:
        pass
    assert server._process is None


def test_a_model_that_is_there_is_checked_and_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / local.MODEL_FILE
    path.write_bytes(b"weights")
    monkeypatch.setattr(local, "MODEL_SHA256", hashlib.sha256(b"weights").hexdigest())
    monkeypatch.setattr(local, "_fetch", lambda scratch: pytest.fail("fetched"))
    said: list[str] = []
    assert local.obtain(tmp_path, said.append) == path
    assert "Gemma Terms of Use" in said[0]


@pytest.mark.parametrize("is_there", [False, True])
def test_a_file_with_another_hash_is_never_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    path = tmp_path / local.MODEL_FILE
    if is_there:
        path.write_bytes(b"tampered")

    def fetch(scratch: Path) -> Path:
        (scratch / "model").write_bytes(b"other")
        return scratch / "model"

    monkeypatch.setattr(local, "_fetch", fetch)
    with pytest.raises(local.LocalModelError, match="SHA-256"):
        local.obtain(tmp_path, lambda line: None)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name] * is_there


def test_a_failed_fetch_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = tmp_path / "nowhere.txt"
    monkeypatch.setattr(local, "REQUIREMENTS", nowhere)
    with pytest.raises(local.LocalModelError, match=r"could not be obtained: .*nowhere\.txt"):
        local.obtain(tmp_path / "cache", lambda line: None)


def test_every_package_is_pinned_by_version_and_hash() -> None:
    lines = [
        line.strip(" \\")
        for line in local.REQUIREMENTS.read_text().splitlines()
        if not line.startswith("#")
    ]
    assert [line.partition("==")[2] for line in lines[::2]] == ["1.0.0"] * 5
    assert all(line.startswith("--hash=sha256:") and len(line) == 78 for line in lines[1::2])


@pytest.mark.slow
def test_the_real_model_answers_with_logprobs(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="the extra [local] is not installed")
    model = local.obtain(local.cache_directory(), print)
    body = {
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "temperature": 0,
        "stop": ["\n"],
        "logprobs": True,
    }
    with local.LocalServer(model, log=tmp_path / "log") as server:
        request = urllib.request.Request(
            f"{server.base_url}/chat/completions",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
    choice = answer["choices"][0]
    assert choice["message"]["content"].strip() == "Paris"
    assert -2 < choice["logprobs"]["content"][0]["logprob"] < 0


def test_the_server_process_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = f"""
import os, sys
from pathlib import Path
from learning import local
server = local.LocalServer(Path("m"), log=Path({str(tmp_path / "log")!r}))
server._command = [sys.executable, "-c", {SERVER!r}, str(server.port), {ANSWER!r}]
server.__enter__()
print(server._process.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    child = Path(f"/proc/{int(done.stdout)}")
    deadline = time.monotonic() + 10
    while child.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not child.exists()
