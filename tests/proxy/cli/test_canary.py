"""`pointsman canary`, against a running server and without one."""

import json
from pathlib import Path

from click.testing import CliRunner

from proxy.cli.program import cli
from telemetry.lock import DirectoryLock
from tests.support.canary import write_canary
from tests.support.served import WAIT_S, Served
from tests.support.simple_config import write_config


def say(config: Path, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["canary", *words, "--config", str(config)])
    return result.exit_code, result.output


def test_the_operators_words_to_a_running_server(tmp_path: Path) -> None:
    config = write_canary(tmp_path, then="hold")
    with Served(config) as served:
        assert say(config, "start") == (0, "extract: new at stage shadow\n")
        told = say(config, "promote", "--next", "--reason", "looks well")
        assert told == (0, "extract: new at stage 10%\n")
        code, told_json = say(config, "status", "--json")
        assert code == 0
        status = json.loads(told_json)
        assert (status["stage"], status["share"], status["status"]) == ("10%", 0.1, "running")
        assert status["steps"][-1]["reason"] == "looks well"
        code, shown = say(config, "status", "extract")
        assert "extract: new for old at stage 10%" in shown
        assert "waits: 0 of 30 answers at this stage" in shown
        assert "looks well" in shown
        rolled = (0, "extract: new is rolled back: old answers\n")
        assert say(config, "rollback", "extract") == rolled
        assert say(config, "rollback", "extract")[0] == 1
        assert "was rolled back; `canary start` begins anew" in say(config, "promote")[1]
        assert "no canary in the configuration" in say(config, "promote", "nowhere")[1]
        assert say(config, "start") == (0, "extract: new at stage shadow\n")
        code, told_last = say(config, "promote")
        assert "has taken the place of old" in told_last
        assert "candidates: [new]  # new in place of old" in told_last
        assert served.chat("Payoff 1 as of today")[1]["x-pointsman-backend"] == "new"
        assert "is promoted; `canary rollback` first" in say(config, "start")[1]
        assert say(config, "promote", "--next")[0] == 1


def test_without_a_server_the_state_is_changed_for_the_next(tmp_path: Path) -> None:
    config = write_canary(tmp_path)
    code, told = say(config, "promote")
    assert code == 0
    assert "has taken the place of old (no server runs: from the next start on)" in told
    assert "no server runs" in say(config, "status")[1]
    with Served(config) as served:
        assert served.chat("Payoff 1 as of today")[1]["x-pointsman-backend"] == "new"
        served.process.kill()
        served.process.wait()
        held = DirectoryLock(served.directory, "serve")
        held.acquire(WAIT_S)  # its children have it until they have noticed
        held.release()
    assert say(config, "rollback", "extract")[0] == 0


def test_a_route_that_has_none_is_told(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    assert say(config, "status") == (
        0, "no server runs; this is what the next one goes on from\nCanaries: none\n",
    )  # fmt: skip
    assert say(config, "start")[0] == 2
    assert "has no canary" in say(config, "status", "default")[1]


def test_a_server_that_does_not_answer_is_told(tmp_path: Path) -> None:
    config = write_canary(tmp_path)
    with Served(config) as served:
        running = tmp_path / "data" / "running.json"
        running.write_text(running.read_text().replace(served.admin, "127.0.0.1:1"))
        code, told = say(config, "status")
    assert (code, "does not answer" in told) == (1, True)
