"""Policies, requests and worlds for tests, each from the few words that matter to it."""

from collections.abc import Mapping
from textwrap import dedent
from typing import Any

import msgspec

from pointsman.decoding import Findings
from pointsman.document import MapNode, parse
from pointsman.tokens import Price, Usage
from policies.asked import Features
from policies.facts import BackendFacts, Expect
from policies.features import parse_chat, read_features
from policies.language import load_policy
from policies.learned import Learned, Observation
from policies.policy import Policy
from policies.request import ChatRequest
from policies.route_match import RouteMatch

FILE = "policy.yaml"

BACKENDS: Mapping[str, BackendFacts] = {
    facts.name: facts
    for facts in (
        BackendFacts("gpt-4", Price(input=30, output=60)),
        BackendFacts(
            "o3-mini", Price(input=1.10, cached_input=0.55, output=4.40), is_reasoning=True
        ),
        BackendFacts(
            "local",
            Price(per_hour=1.80),
            Expect(first_token_s=0.04, tokens_per_second=90),
            has_logprobs=True,
        ),
        BackendFacts("local-v2", Price(per_hour=1.80), has_logprobs=True),
    )
}
"""The backends of the documents' example."""


def read(
    text: str, backends: Mapping[str, BackendFacts] = BACKENDS
) -> tuple[Policy | None, Findings]:
    """Load `checks:` and `routes:` from YAML text (its common indentation left out)."""
    root = parse(dedent(text).lstrip("\n"), FILE)
    assert isinstance(root, MapNode)
    findings = Findings()
    policy = load_policy(
        root.items.get("checks"), root.items.get("routes"), backends, findings=findings, file=FILE
    )
    return policy, findings


def policy_of(text: str, backends: Mapping[str, BackendFacts] = BACKENDS) -> Policy:
    """A policy that must load."""
    policy, findings = read(text, backends)
    assert policy is not None, list(map(str, findings.errors))
    return policy


def route_of(words: str, backends: Mapping[str, BackendFacts] = BACKENDS) -> RouteMatch:
    """The route `r` of a policy with these words in flow style, as in `prefer: fastest`."""
    policy = policy_of(f"routes:\n  r: {{{words}}}\n  default: {{candidates: [gpt-4]}}", backends)
    match = policy.route_for("r", {})
    assert match is not None
    return match


def errors_of(text: str, backends: Mapping[str, BackendFacts] = BACKENDS) -> list[str]:
    """`LINE:COLUMN: message` of every error."""
    policy, findings = read(text, backends)
    assert (policy is None) == bool(findings.errors)
    return [str(problem).removeprefix(f"{FILE}:") for problem in findings.errors]


def warnings_of(text: str, backends: Mapping[str, BackendFacts] = BACKENDS) -> list[str]:
    """`LINE:COLUMN: message` of every warning of a policy that loads."""
    policy, findings = read(text, backends)
    assert policy is not None, list(map(str, findings.errors))
    return [str(problem).removeprefix(f"{FILE}:") for problem in findings.warnings]


def chat(**fields: Any) -> ChatRequest:
    """A parsed chat request; `model` is `auto` and the message `Hello` unless given."""
    body = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}], **fields}
    return parse_chat(msgspec.json.encode(body))


def features_of(
    request: ChatRequest | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    conversation: str | None = None,
    caller: str | None = None,
) -> Features:
    """The features of a request that came with these labels in its headers."""
    return read_features(
        request or chat(),
        body_bytes=100,
        label_headers=labels or {},
        conversation_header=conversation,
        caller=caller,
    )


def observation(backend: str = "local", *, completed: bool = True, **figures: Any) -> Observation:
    """One attempt; figures are task, prompt_bytes, prompt, completion, reasoning, cached,
    first_token_s, total_s."""
    usage = {
        name: figures.pop(name, None) for name in ("prompt", "completion", "reasoning", "cached")
    }
    return Observation(
        backend=backend,
        task=figures.pop("task", "t"),
        prompt_bytes=figures.pop("prompt_bytes", 400),
        usage=Usage(**usage),
        first_token_s=figures.pop("first_token_s", None),
        total_s=figures.pop("total_s", None),
        completed=completed,
        **figures,
    )


def learned_from(*seen: tuple[int, Observation]) -> Learned:
    """A state that saw each observation so many times, one a second."""
    learned = Learned()
    moment_s = 0.0
    for count, observed in seen:
        for _ in range(count):
            moment_s += 1.0
            learned.observe(observed, moment_s)
    return learned
