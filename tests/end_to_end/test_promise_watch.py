"""A promise that is broken on real processes: withdrawn everywhere, told, and not forgotten."""

import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from policies.lock import Lock, RouteLock, route_digest, write_lock
from proxy.configuration import load_configuration
from proxy.locked import lock_path
from tests.support.canary import Traffic, prompt
from tests.support.served import WAIT_S, Served

CONFIG = """\
listen: 127.0.0.1:0
admin: 127.0.0.1:0
alarms: {{webhook: "{hook}", token: {{env: HOOK_TOKEN}}}}
backends:
  cheap:
    adapter: simulated
    profile: {{like: local, speed: instant, error_rate: 60%, answers: answers.jsonl}}
    price: {{input: 1, output: 2}}
  sure:
    adapter: simulated
    profile: {{like: gpt-4, speed: instant, error_rate: 0%, answers: answers.jsonl}}
    price: {{input: 10, output: 20}}
checks: {{amount: {{at: /payoff, in_prompt: true}}}}
routes:
  extract:
    match: {{model: auto}}
    candidates: [cheap, sure]
    require: {{error: {{max: 20%, reference: sure}}}}
    confidence: {{from: [checks], accept: calibrated}}
    checks: [amount]
  default: {{candidates: [sure]}}
"""


@contextmanager
def hook() -> Iterator[tuple[str, list[tuple[str | None, object]]]]:
    """An HTTP server that keeps what it is posted; the first post it refuses."""
    posted: list[tuple[str | None, object]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            posted.append((self.headers["authorization"], json.loads(body)))
            self.send_response(503 if len(posted) == 1 else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/alarm", posted
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def write_promise(directory: Path, url: str) -> Path:
    """A configuration whose promise is certified, and false."""
    answers = [{"prompt": prompt(n), "answer": {"payoff": n + 1000}} for n in range(4000)]
    (directory / "answers.jsonl").write_text("\n".join(map(json.dumps, answers)))
    config = directory / "config.yaml"
    config.write_text(CONFIG.format(hook=url))
    certify(config, made_us=1)
    return config


def certify(config: Path, *, made_us: int) -> None:
    """Write the lock anew, as a calibration does."""
    written = load_configuration(config, environment={}).written
    (route,) = [one for one in written.routes if one.name == "extract"]
    proof = RouteLock(
        accept=0.0, max=0.2, confidence=0.95, reference="sure", labels=400, errors=40, bound=0.13,
        policy=route_digest(route, written.backends), label_set="x", made_us=made_us,
    )  # fmt: skip
    lock_path(config).write_bytes(write_lock(Lock({"extract": proof})))


def backend_of(served: Served) -> str:
    return served.chat(prompt(7))[1]["x-pointsman-backend"]


def test_a_refuted_promise_is_withdrawn_told_and_stays_withdrawn(tmp_path: Path) -> None:
    with hook() as (url, posted):
        config = write_promise(tmp_path, url)
        with Served(config, workers=2, environment={"HOOK_TOKEN": "hush"}) as served:
            assert backend_of(served) == "cheap"
            with Traffic(served, clients=2) as traffic:
                served.wait_until("/state", lambda state: state["alarms"])
                time.sleep(1.0)
                traffic.clear()
                time.sleep(0.2)
            assert set(traffic.answers) == {(200, "sure")}
            assert traffic.faults == []
            _, state = served.get("/state")
            assert "refuted by checks" in state["promises"]["extract"]["refuted"]
            assert not state["workers"]["worker 0"]["state"]["promises"]["extract"]["certified"]
            _, metrics = served.get("/metrics")
            assert 'pointsman_promise_refuted{route="extract"} 1\n' in metrics
            assert 'pointsman_alarms_total{alarm="promise_broken"} 1\n' in metrics
            served.wait_until("/metrics", lambda text: 'posts_total{outcome="delivered"} 1' in text)
            assert len(posted) == 2  # the first was refused and tried again
            token, said = posted[-1]
            assert token == "Bearer hush"
            assert isinstance(said, dict)
            assert (said["alarm"], said["route"]) == ("promise_broken", "extract")
            assert served.events("alarm")[0]["reason"] == said["reason"]
            assert "hush" not in served.log()
            keeper = served.kill_child("keeper")
            served.wait_for_child("keeper", other_than=keeper)
            assert backend_of(served) == "sure"
        with Served(config, workers=1) as served:
            assert backend_of(served) == "sure"
            certify(config, made_us=2)  # a new proof is a new promise
            served.wait_until(
                "/state", lambda state: "watched_by" in state["promises"].get("extract", {})
            )
            deadline = time.monotonic() + WAIT_S
            while backend_of(served) != "cheap":
                assert time.monotonic() < deadline
                time.sleep(0.05)
