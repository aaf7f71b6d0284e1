"""F26: the backend closes an idle connection at the moment we send on it."""

import random
import threading
from pathlib import Path

import pytest

from tests.support.chance import new_seed
from tests.support.command import all_captures
from tests.support.laboratory import Lab
from tests.support.ledger import Ledger, Load, chat_body, differences
from tests.support.plane import ASKED, config, error_answer, whole_answer
from tests.support.scripted import (
    Connection,
    Script,
    ScriptedUpstream,
    fin,
    request,
    reset,
)
from tests.support.served import Served
from tests.support.simple_config import write_config


@pytest.mark.parametrize("end", [fin, reset])
def test_f26_it_is_sent_once_more_silently(tmp_path: Path, end: object) -> None:
    """It took the request and closed without a byte: the client sees one attempt."""
    scripts: list[Script] = [[request, whole_answer(), request, end], [request, whole_answer()]]  # type: ignore[list-item]
    with ScriptedUpstream(*scripts) as up, Lab(tmp_path, a=up.base_url) as lab:
        assert lab.ask().status == 200
        answer = lab.ask()
        assert (answer.status, answer.header("x-pointsman-attempts")) == (200, "1")
        assert [len(one.requests) for one in up.connections] == [2, 1]


def test_f26_it_is_sent_once_more_only(tmp_path: Path) -> None:
    """A fresh connection that does the same is a reset like any other: counted, and bounded."""
    with (
        ScriptedUpstream([request, whole_answer(), request, fin], [request, fin]) as up,
        Lab(tmp_path, a=up.base_url) as lab,
    ):
        lab.ask()
        answer = lab.ask()
        assert answer.code == (502, "server_error", "upstream_error")
        assert answer.header("x-pointsman-attempts") == "3"
        assert len(up.requests) == 1 + 1 + 3


def test_f26_a_byte_of_an_answer_and_it_is_no_race(tmp_path: Path) -> None:
    scripts: list[Script] = [
        [request, whole_answer(), request, b"HTTP/1.1 200", fin],
        [request, error_answer("400 X")],
    ]
    with ScriptedUpstream(*scripts) as up, Lab(tmp_path, a=up.base_url) as lab:
        lab.ask()
        assert lab.ask(ASKED).header("x-pointsman-attempts") == "2"


class Racing:
    """An upstream's step: answers, and closes the connection a moment after some answers."""

    def __init__(self, seed: int, *, share: float) -> None:
        self.raced = 0
        """Times that a request had come when it closed."""
        self._draw = random.Random(seed)
        self._share = share
        self._lock = threading.Lock()

    def __call__(self, connection: Connection) -> None:
        while True:
            connection.read_request()
            connection.send(whole_answer())
            with self._lock:
                closes, moment_s = self._draw.random() < self._share, self._draw.random() / 500
            if closes:
                connection.stall(moment_s)
                self.raced += bool(connection.unread)
                connection.fin()


@pytest.mark.parametrize(
    ("requests", "share"), [(1500, 0.2), pytest.param(100_000, 0.05, marks=pytest.mark.slow)]
)
def test_f26_no_client_of_many_sees_an_error(
    tmp_path: Path, ledger: Ledger, requests: int, share: float
) -> None:
    seed = new_seed()
    racing = Racing(seed, share=share)
    with ScriptedUpstream([racing]) as up:
        config_file = write_config(
            tmp_path, config("  default: {candidates: [a], capture: metadata}", a=up.base_url)
        )
        with Served(config_file, workers=2) as served:
            with Load(
                served.listen,
                ledger,
                seed=seed,
                connections=8,
                make_body=lambda draw: chat_body(str(draw.random())),
                requests_max=requests // 8,
            ) as load:
                load.wait()
            assert load.failures == []
            statuses = {entry.status for entry in ledger.entries.values()}
            assert (len(ledger.entries), statuses) == (requests // 8 * 8, {200})
            assert racing.raced > requests * share / 100  # or nothing was tested
        captures = all_captures(config_file)
    assert differences(ledger, captures, has_bodies=False) == []
    assert {len(one["attempts"]) for one in captures} == {1}
