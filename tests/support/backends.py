"""Backends for the loop's tests: simulated ones with known answers, and scripted upstreams."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from adapters.backend import Backend
from learning.question import Question
from pointsman.tokens import Price
from proxy.configuration import parse_configuration


def questions(count: int, **changes: Any) -> list[Question]:
    """`count` questions, the n-th with the answer {"payoff": n}."""
    return [
        msgspec.structs.replace(
            Question(
                f"q{n}",
                {"messages": [{"role": "user", "content": f"Call {n}: payoff {n}.00?"}]},
                json.dumps({"payoff": n}),
                f"c{n}",
            ),
            **changes,
        )
        for n in range(count)
    ]


def answering(directory: Path, asked: Iterable[Question]) -> Path:
    """A file of known answers for the simulator."""
    path = directory / "answers.jsonl"
    path.write_text(
        "".join(
            json.dumps(
                {
                    "prompt": q.body["messages"][-1]["content"],  # type: ignore[index]
                    "answer": json.loads(q.expected or "0"),
                }
            )
            + "\n"
            for q in asked
        )
    )
    return path


def config_text(answers: Path, **profiles: str) -> str:
    """A configuration whose simulated backends answer at once and know the answers."""
    backends = "".join(
        f"  {name}: {{adapter: simulated, profile: {{like: gpt-4, speed: 10000,"
        f" answers: {answers}, {words}}}, price: {{input: 30, output: 60}}}}\n"
        for name, words in profiles.items()
    )
    names = ", ".join(profiles)
    return (
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n"
        f"backends:\n{backends}"
        "routes:\n  default:\n"
        f"    candidates: [{names}]\n"
        "    require: {latency: {p90: 2s, of: total}, cost: {max: $0.05}}\n"
    )


def backends_of(answers: Path, **profiles: str) -> dict[str, Backend]:
    """The same, as backends."""
    text = config_text(answers, **profiles)
    return dict(parse_configuration(text, file=answers.parent / "c.yaml", environment={}).backends)


def scripted(port: int, name: str = "b", **changes: Any) -> Backend:
    """A backend played by a ScriptedUpstream."""
    facts: dict[str, Any] = {"price": Price(input=1.0, output=2.0), **changes}
    return Backend(name, "openai", "m", host="127.0.0.1", port=port, **facts)
