"""A server with a canary on its one route, and traffic for it: each request a conversation."""

import http.client
import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from tests.support.served import WAIT_S, Served

PROMPTS = 4000
GOOD = "error_rate: 0%"
BAD = "error_rate: 60%"
KEEP = "{error: +20pp, p95: 2s, cost: +0%}"

_CONFIG = """\
listen: 127.0.0.1:0
admin: 127.0.0.1:0
backends:
  old:
    adapter: simulated
    profile: {{like: local, speed: instant, error_rate: 10%, answers: answers.jsonl}}
    price: {{input: 10, output: 20}}
  new:
    adapter: simulated
    profile: {{like: local, speed: instant, answers: answers.jsonl, {profile}}}
    price: {{input: 5, output: 10}}
checks: {{amount: {{at: /payoff, in_prompt: true}}}}
routes:
  extract:
    match: {{model: auto}}
    candidates: [old]
    confidence: {{from: [checks], accept: 0.5}}
    checks: [amount]
    canary:
      {{backend: new, replaces: old, stages: {stages}, keep_if: {keep}, min_samples: {samples},
       then: {then}}}
  default: {{candidates: [old]}}
"""


def write_canary(
    directory: Path,
    *,
    profile: str = GOOD,
    stages: str = "[shadow, 10%, 100%]",
    samples: int = 30,
    then: str = "promote",
    keep: str = KEEP,
) -> Path:
    """`config.yaml` and the answers both backends know."""
    lines = [
        json.dumps({"prompt": prompt(number), "answer": {"payoff": number + 1000}})
        for number in range(PROMPTS)
    ]
    (directory / "answers.jsonl").write_text("\n".join(lines))
    path = directory / "config.yaml"
    path.write_text(
        _CONFIG.format(profile=profile, stages=stages, samples=samples, then=then, keep=keep)
    )
    return path


def prompt(number: int) -> str:
    return f"Payoff {number % PROMPTS + 1000} as of today"


def canary_of(served: Served) -> Any:
    """How the canary stands, by the admin port."""
    return served.get("/canary")[1]["canaries"][0]


class Traffic:
    """Clients that ask until they are told to stop; what each was answered is counted."""

    def __init__(self, served: Served, *, clients: int = 2) -> None:
        self.answers: Counter[tuple[int, str]] = Counter()
        """By status and backend."""
        self.faults: list[str] = []
        self._served = served
        self._next = iter(range(10**9))
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(WAIT_S)

    def clear(self) -> None:
        """Count from now."""
        self.answers.clear()

    def of(self, backend: str) -> int:
        """How often a backend answered."""
        return sum(count for (_, name), count in self.answers.items() if name == backend)

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(self._served.listen, timeout=WAIT_S)
        while not self._stop.is_set():
            message = {"role": "user", "content": prompt(next(self._next))}
            body = json.dumps({"model": "auto", "messages": [message]})
            try:
                connection.request("POST", "/v1/chat/completions", body)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.faults.append(repr(error))
                connection.close()
                continue
            self.answers[answer.status, answer.headers.get("x-pointsman-backend", "")] += 1
            self._stop.wait(0.002)
        connection.close()
