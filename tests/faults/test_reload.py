"""Good and bad files in turn under load: nobody notices a bad one, and a good one swaps whole."""

import json
import random
import time
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.chance import new_seed
from tests.support.command import all_captures
from tests.support.ledger import Ledger, Load, Wire, chat_body, chat_request, differences
from tests.support.served import Served
from tests.support.simple_config import write_config

CONFIG = """\
listen: 127.0.0.1:0
admin: 127.0.0.1:0
backends:
  first: {{adapter: simulated, profile: {{speed: instant}}}}
  second: {{adapter: simulated, profile: {{speed: instant}}}}
routes:
  default: {{candidates: [{backend}]}}
"""
GOOD = {name: CONFIG.format(backend=name) for name in ("first", "second")}
CHANGED = {  # the same, and the backends themselves are others: new pools, a new simulator
    name: text.replace("speed: instant", "speed: instant, completion_tokens: 12")
    for name, text in GOOD.items()
}
CHANGED_EVERY = 16
"""Reloads; a simulator needs a moment to start, and one replaced at once never comes to answer."""
BAD_LINE = 7
BAD = {
    "unknown backend": CONFIG.format(backend="frist"),
    "unknown word": CONFIG.format(backend="first], kandidates: [first"),
    "not YAML": CONFIG.format(backend="first").replace("]}", "]"),
    "a tab": CONFIG.format(backend="first").replace("  default:", "\tdefault:"),
    "twice": CONFIG.format(backend="first], candidates: [second"),
}


def reload(served: Served, config: Path, text: str) -> tuple[int, dict[str, object]]:
    """Save a file and ask for it."""
    fresh = config.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(config)
    status, answer = served.get("/reload", method="POST")
    assert isinstance(answer, dict), answer
    return status, answer


def learn_digests(served: Served, config: Path) -> dict[str, str]:
    """The policy of each good file, by the backend it names."""
    digests = {}
    for name in ("second", "first"):
        status, answer = reload(served, config, GOOD[name])
        assert status == 200
        digests[name] = str(answer["policy"])
    assert len(set(digests.values())) == 2
    return digests


def play(tmp_path: Path, ledger: Ledger, times: int) -> None:
    """So many reloads under load, every second one bad."""
    draw = random.Random(new_seed())
    config = write_config(tmp_path, GOOD["first"])
    moments: list[tuple[float, float, str]] = []
    with Served(config, workers=2) as served:
        backend_of = {digest: name for name, digest in learn_digests(served, config).items()}
        in_force = served.policy
        with Load(served.listen, ledger, seed=draw.randrange(2**32), connections=4) as load:
            for number in range(times):
                time.sleep(draw.uniform(0.0, 0.05))
                started_s = time.monotonic()
                if number % 2:
                    kind = draw.choice(sorted(BAD))
                    status, answer = reload(served, config, BAD[kind])
                    assert status == 422, kind
                    assert_refused(answer, config, kind)
                else:
                    name = ("second", "first")[number // 2 % 2]
                    status, answer = reload(
                        served, config, (GOOD, CHANGED)[number // CHANGED_EVERY % 2][name]
                    )
                    assert (status, backend_of[str(answer["policy"])]) == (200, name)
                    in_force = str(answer["policy"])
                moments.append((started_s, time.monotonic(), in_force))
        assert load.failures == []
        assert_one_policy_each(ledger, backend_of, moments)
        config.write_text(GOOD["first"])  # the commands read it too
        assert differences(ledger, all_captures(config, "--bodies")) == []
        assert served.events("child_died") == []
        assert len(served.events("request_crashed")) == 0


def assert_refused(answer: dict[str, object], config: Path, kind: str) -> None:
    """The file and the line are named."""
    errors = answer["errors"]
    assert isinstance(errors, list)
    assert errors, kind
    for error in errors:
        assert set(error) == {"file", "line", "column", "message"}
        assert error["file"] == str(config)
    lines = {error["line"] for error in errors}
    assert lines & {BAD_LINE, BAD_LINE + 1}, (kind, errors)


def assert_one_policy_each(
    ledger: Ledger, backend_of: dict[str, str], moments: list[tuple[float, float, str]]
) -> None:
    """Each answer is of the backend its policy names; after a reload's answer only the new one."""
    entries = sorted(ledger.entries.values(), key=lambda entry: entry.ended_s)
    assert len(entries) > 100
    assert {entry.status for entry in entries} == {200}
    for entry in entries:
        assert entry.policy is not None
        assert backend_of[entry.policy] == entry.backend
    assert {entry.policy for entry in entries} == set(backend_of)
    for (_, done_s, in_force), (next_s, _, _) in pairwise(moments):
        # One that was under way at the swap keeps its policy; it takes far less than 0.5 s.
        seen = {entry.policy for entry in entries if done_s + 0.5 < entry.ended_s < next_s}
        assert seen <= {in_force}


def test_f43_thirty_reloads_under_load_half_of_them_bad(tmp_path: Path, ledger: Ledger) -> None:
    play(tmp_path, ledger, 30)


@pytest.mark.slow
def test_f43_a_thousand_reloads_under_load_half_of_them_bad(tmp_path: Path, ledger: Ledger) -> None:
    play(tmp_path, ledger, 1000)


def test_f43_an_answer_under_way_keeps_the_policy_it_began_with(
    tmp_path: Path, ledger: Ledger
) -> None:
    slow = GOOD["first"].replace(
        "{speed: instant}", "{first_token: 900ms, tokens_per_second: 2000}", 1
    )
    config = write_config(tmp_path, slow)

    def streamed(draw: random.Random) -> bytes:
        return chat_body(str(draw.random()), stream=True)

    with Served(config) as served:
        with Load(served.listen, ledger, seed=1, make_body=streamed, requests_max=1) as load:
            served.wait_until("/state", is_busy)
            status, answer = reload(served, config, slow.replace("[first]", "[second]"))
            assert status == 200
            assert answer["policy"] != served.policy
        assert load.failures == []
        assert {entry.policy for entry in ledger.entries.values()} == {served.policy}
        assert {entry.backend for entry in ledger.entries.values()} == {"first"}
        assert json.loads(served.chat()[2])["choices"]


def is_busy(state: dict[str, dict[str, dict[str, dict[str, int]]]]) -> bool:
    """Whether worker 0 has all six requests in its hands."""
    return state["workers"].get("worker 0", {}).get("state", {}).get("in_flight", 0) == 6


def test_f43_a_body_that_comes_after_the_swap_is_served_by_one_policy(
    tmp_path: Path, ledger: Ledger
) -> None:
    config = write_config(tmp_path, GOOD["first"])
    body = chat_body("between two policies")
    request = chat_request(body)
    with Served(config) as served, Wire(served.listen) as wire:
        wire.send(request[: -len(body)])
        time.sleep(0.2)
        status, answer = reload(served, config, GOOD["second"])
        assert status == 200
        wire.send(body)
        whole = wire.read_answer()
        ledger.add(body, whole)
        backend_of = {served.policy: "first", str(answer["policy"]): "second"}
        headers = whole.headers
        assert backend_of[headers["x-pointsman-policy"]] == headers["x-pointsman-backend"]
        assert differences(ledger, all_captures(config, "--bodies")) == []
