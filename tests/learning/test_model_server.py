import os
import signal
import time
from pathlib import Path
from typing import ClassVar

import pytest

from learning import model_server
from learning.local import LocalModelError, LocalServer
from learning.model_server import ServedModel, config_line, serve_model
from tests.learning.test_local import ANSWER, SERVER


class Played(LocalServer):
    """The real supervision of a process that is no model."""

    started: ClassVar[list["Played"]] = []

    def __init__(self, model: Path, **options: object) -> None:
        super().__init__(model, **options)  # type: ignore[arg-type]
        import sys

        self._command = [sys.executable, "-c", SERVER, str(self.port), ANSWER]
        Played.started.append(self)


@pytest.fixture(autouse=True)
def fresh():
    Played.started = []


def serve(tmp_path, until, **options):
    """What was said; `until` being true once is enough, and half a minute too."""
    said = []
    end_s = time.monotonic() + 30
    is_over = []

    def should_stop():
        if until() or time.monotonic() > end_s:
            is_over.append(True)
        return bool(is_over)

    serve_model(
        ServedModel("m@1", tmp_path / "model.gguf"),
        log=tmp_path / "log",
        say=said.append,
        should_stop=should_stop,
        watch_s=0.05,
        make=Played,
        **options,
    )
    return said


def kill(server):
    os.kill(server._process.pid, signal.SIGKILL)


def test_serves_until_it_is_told_to_stop(tmp_path):
    end_s = time.monotonic() + 1.0
    said = serve(tmp_path, lambda: time.monotonic() > end_s)
    assert len(said) == 1
    assert said[0].startswith("m@1 is served at http://127.0.0.1:")
    assert not Played.started[0].is_running


def test_a_server_that_dies_is_started_again_on_its_port(tmp_path):
    def until():
        if len(Played.started) == 1 and Played.started[0].is_running:
            kill(Played.started[0])
        return len(Played.started) == 2 and Played.started[1].is_running

    said = serve(tmp_path, until)
    assert "started again (1)" in said[-1]
    assert Played.started[0].port == Played.started[1].port


def test_one_that_dies_again_and_again_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(model_server, "RESTARTS_MAX", 1)

    def until():
        if Played.started and Played.started[-1].is_running:
            kill(Played.started[-1])
        return False

    with pytest.raises(LocalModelError, match="it ended 2 times"):
        serve(tmp_path, until)


def test_a_silent_server_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(model_server, "SILENT_MAX", 1)
    monkeypatch.setattr(Played, "is_healthy", lambda self: len(Played.started) > 1)
    end_s = time.monotonic() + 20

    def until():
        return (len(Played.started) == 2 and Played.started[1].is_running) or (
            time.monotonic() > end_s
        )

    assert "fell silent" in serve(tmp_path, until)[-1]


def test_the_line_for_the_configuration(tmp_path):
    line = config_line(ServedModel("m@1", tmp_path / "model.gguf"), "http://127.0.0.1:1/v1")
    assert line.startswith("m-1: {adapter: openai, base_url: http://127.0.0.1:1/v1, model: model,")
    assert "logprobs: true" in line
