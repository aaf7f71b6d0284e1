"""Canaries on real processes: taken over, rolled back, and none of it forgotten by a kill."""

import time
from pathlib import Path

from telemetry.queries import captures
from tests.support.canary import BAD, Traffic, canary_of, write_canary
from tests.support.served import Served


def wait_for(served: Served, status: str) -> None:
    served.wait_until("/canary", lambda answer: answer["canaries"][0]["status"] == status)


def test_a_good_one_takes_over_and_a_restart_knows_it(tmp_path: Path) -> None:
    config = write_canary(tmp_path, stages="[shadow, 50%, 100%]")
    with Served(config, workers=2) as served:
        with Traffic(served, clients=3) as traffic:
            wait_for(served, "promoted")
            time.sleep(0.5)
            traffic.clear()
            time.sleep(0.2)
        assert set(traffic.answers) == {(200, "new")}
        assert traffic.faults == []
        found = canary_of(served)
        assert [step["what"] for step in found["steps"]] == [
            "started", "next_stage", "next_stage", "promoted",
        ]  # fmt: skip
        assert "candidates: [new]" in found["suggested_edit"]
    with Served(config, workers=2) as served:
        assert served.chat("Payoff 1 as of today")[1]["x-pointsman-backend"] == "new"
    sides = {(one["canary"], one["backend"]) for one in captures(tmp_path / "data")}
    assert sides == {(None, "old"), ("new", "new")}


def test_a_bad_one_is_rolled_back_within_a_second_and_drops_no_request(tmp_path: Path) -> None:
    config = write_canary(tmp_path, profile=BAD, stages="[50%, 100%]")
    with Served(config, workers=2) as served, Traffic(served, clients=3) as traffic:
        wait_for(served, "rolled_back")
        time.sleep(1.0)
        assert traffic.of("new") > 10
        traffic.clear()
        time.sleep(0.3)
        assert set(traffic.answers) == {(200, "old")}
        assert traffic.faults == []
        _, state = served.get("/state")
        assert [(one["alarm"], one["route"]) for one in state["alarms"]] == [
            ("canary_rolled_back", "extract")
        ]
        _, metrics = served.get("/metrics")
        assert 'pointsman_canary_share{backend="new",route="extract"} 0\n' in metrics
        assert 'pointsman_alarms_total{alarm="canary_rolled_back"} 1\n' in metrics


def test_a_rollback_lets_what_is_under_way_finish(tmp_path: Path) -> None:
    slow = "error_rate: 0%, latency: {median: 800ms, p95: 801ms}, speed: 1"
    config = write_canary(tmp_path, profile=slow, stages="[100%]", samples=1000)
    config.write_text(
        config.read_text().replace(
            "speed: instant, answers: answers.jsonl, error", "answers: answers.jsonl, error"
        )
    )
    with Served(config, workers=2) as served, Traffic(served, clients=4) as traffic:
        time.sleep(0.4)  # all four are with the canary
        assert traffic.answers == {}
        served.get("/canary/extract/rollback", method="POST")
        while not traffic.of("old"):
            time.sleep(0.01)
        time.sleep(0.3)
        assert set(traffic.answers) == {(200, "new"), (200, "old")}
        assert traffic.of("new") == 4
        assert traffic.faults == []


def test_kills_lose_no_stage_and_count_no_answer_twice(tmp_path: Path) -> None:
    config = write_canary(tmp_path, stages="[20%, 100%]", samples=100_000)
    with Served(config, workers=2) as served:
        with Traffic(served) as traffic:
            while traffic.of("new") < 60:
                time.sleep(0.02)
            keeper = served.kill_child("keeper")
            served.wait_for_child("keeper", other_than=keeper)
            while traffic.of("new") < 120:
                time.sleep(0.02)
        asked = traffic.of("new")
        assert traffic.faults == []
        served.wait_until("/canary", lambda answer: answer["canaries"][0]["samples"] >= asked)
        assert canary_of(served)["samples"] == asked
        worker = served.kill_child("worker 0")
        served.wait_for_child("worker 0", other_than=worker)
    with Served(config, workers=1) as served:
        assert canary_of(served)["samples"] == asked
        assert canary_of(served)["stage"] == "20%"
