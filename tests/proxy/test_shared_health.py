"""What the keeper keeps of the workers' health."""

from pathlib import Path
from typing import Any

from adapters.standing import Standing
from proxy.shared_health import BACKENDS_MAX, GRANT_S, SharedHealth
from tests.support.plane import ASKED, error_answer, two_backends, whole_answer
from tests.support.raw_client import RawClient
from tests.support.scripted import ScriptedUpstream, fin, request
from tests.support.served import Served
from tests.support.simple_config import write_config

NOW_S = 1000.0


def told(state: str, since_s: float) -> Standing:
    return Standing("a", state, "", since_s)  # type: ignore[arg-type]


def test_the_latest_word_is_kept() -> None:
    shared = SharedHealth()
    assert shared.note(told("failing", NOW_S))
    assert not shared.note(told("ready", NOW_S))
    assert not shared.note(told("ready", NOW_S - 1))
    assert shared.note(told("ready", NOW_S + 1))
    assert [one.state for one in shared.standings] == ["ready"]


def test_one_worker_at_a_time_may_try() -> None:
    shared = SharedHealth()
    assert shared.grant("a", 0, NOW_S)
    assert not shared.grant("a", 1, NOW_S + GRANT_S - 0.01)
    assert shared.grant("b", 1, NOW_S), "another backend is another matter"
    assert shared.grant("a", 0, NOW_S + GRANT_S - 0.01), "the holder renews"
    assert not shared.grant("a", 1, NOW_S + GRANT_S)
    assert shared.grant("a", 1, NOW_S + 2 * GRANT_S)


def test_news_end_a_probe() -> None:
    shared = SharedHealth()
    shared.grant("a", 0, NOW_S)
    shared.note(told("failing", NOW_S + 0.1))
    assert shared.grant("a", 1, NOW_S + 0.2)


def test_a_new_configuration_starts_clean() -> None:
    shared = SharedHealth()
    shared.note(told("failing", NOW_S))
    shared.grant("a", 0, NOW_S)
    shared.forget()
    assert shared.standings == []
    assert shared.grant("a", 1, NOW_S)
    assert repr(shared) == "<SharedHealth 0 backends, 1 probes>"


def test_is_bounded() -> None:
    shared = SharedHealth()
    for number in range(BACKENDS_MAX + 10):
        shared.note(Standing(f"b{number}", "failing", "", NOW_S))
        shared.grant(f"b{number}", 0, NOW_S)
    assert len(shared.standings) == BACKENDS_MAX
    assert shared.grant("c", 0, NOW_S)


# -- two real workers ----------------------------------------------------------------------------


def test_what_one_worker_finds_out_the_other_knows(tmp_path: Path) -> None:
    """A worker without a single call to the broken backend leaves it alone too, and a keeper that
    died hears of it again."""
    with (
        ScriptedUpstream([request, error_answer("503 X"), fin]) as a,
        ScriptedUpstream([request, whole_answer(), fin]) as b,
        Served(write_config(tmp_path, two_backends(a.base_url, b.base_url)), workers=2) as served,
    ):
        with RawClient(int(served.listen.rpartition(":")[2])) as client:
            for _ in range(5):
                assert client.ask(ASKED).status == 200
            asked = len(a.requests)
        served.wait_until("/state", lambda state: standings(state) == ["failing", "failing"])
        found = [one["state"] for one in served.events("backend_state")]
        assert found == ["failing"], "one line, however many workers"
        served.wait_for_child("keeper", other_than=served.kill_child("keeper"))
        pid = served.wait_for_child("worker 0", other_than=served.kill_child("worker 0"))
        served.wait_until("/state", lambda state: pid_of(state) == pid and standings(state))
        answers = [served.chat() for _ in range(10)]
        assert {headers["x-pointsman-backend"] for _, headers, _ in answers} == {"b"}
        assert len(a.requests) - asked <= 2, "but for a probe"


def standings(state: dict[str, Any]) -> list[str]:
    """How the workers see backend `a`."""
    workers = state["workers"].values()
    return [one["state"].get("backends", {"a": {"state": ""}})["a"]["state"] for one in workers]


def pid_of(state: dict[str, Any]) -> int | None:
    found = state["workers"].get("worker 0")
    return found["pid"] if found and found["state"] else None
