"""What `pointsman canary` does with a server that runs, one that was killed, and none."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from proxy.canaries import BadCommand
from proxy.canary_command import Unreachable, is_served, read_canaries, say
from proxy.configuration import Configuration, load_configuration
from proxy.running import Running
from telemetry.lock import DirectoryLock
from tests.support.canary import write_canary


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return load_configuration(write_canary(tmp_path))


@contextmanager
def answering(configuration: Configuration, status: int, body: bytes) -> Iterator[list[str]]:
    """Somebody who holds the directory and answers every request like this."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked.append(f"{self.command} {self.path}")
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815 (as the library calls them)

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    directory = configuration.capture.directory
    try:
        with DirectoryLock(directory, "serve"):
            admin = f"0.0.0.0:{server.server_port}"
            running = Running(1, "127.0.0.1:1", admin, 1, "/nowhere")
            (directory / "running.json").write_bytes(msgspec.json.encode(running))
            yield asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_running_server_is_asked(configuration: Configuration) -> None:
    with answering(configuration, 200, b'{"canaries": [{"route": "extract"}]}') as asked:
        assert is_served(configuration)
        assert read_canaries(configuration) == [{"route": "extract"}]
        say(configuration, "a/b c", "promote", "why")
    assert asked == ["GET /canary", "POST /canary/a%2Fb%20c/promote"]


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (409, b'{"error": {"message": "not now"}}', BadCommand, "not now"),
        (401, b'{"error": {"message": "its token"}}', Unreachable, "its token"),
        (500, b"no JSON", Unreachable, "answered 500"),
        (503, b"{}", Unreachable, "status 503"),
    ],
)
def test_what_it_refuses_is_told(
    configuration: Configuration, status: int, body: bytes, error: type[Exception], said: str
) -> None:
    with answering(configuration, status, body), pytest.raises(error, match=said):
        say(configuration, "extract", "promote", "")


def test_without_a_server_the_state_is_changed(configuration: Configuration) -> None:
    assert not is_served(configuration)
    assert say(configuration, "extract", "promote", "")["status"] == "promoted"
    (found,) = read_canaries(configuration)
    assert found["status"] == "promoted"
    with pytest.raises(BadCommand, match="no canary"):
        say(configuration, "default", "promote", "")


def test_one_that_starts_just_now_is_not_overtaken(configuration: Configuration) -> None:
    with (
        DirectoryLock(configuration.capture.directory, "serve"),
        pytest.raises(Unreachable, match="a server holds"),
    ):
        say(configuration, "extract", "promote", "")
