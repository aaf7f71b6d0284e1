"""Is a latency promise kept on real traffic? Azure's conversation trace over LLMPerf's tails.

Arrivals and token counts are those of the trace; each answer's time to first token and time per
token are drawn from what was measured of an endpoint, together, so that its tail is its own. The
route asks for the cheapest endpoint that is in time with the probability asked for, learns as it
goes and explores 3 %. Beside it stand each endpoint alone and always the lowest quantile.
"""

import csv
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pointsman.tokens import Price, Usage
from policies.asked import Features
from policies.choice import World
from policies.decide import decide
from policies.facts import BackendFacts
from policies.features import parse_chat, read_features
from policies.learned import Learned, Observation
from policies.policy import Policy
from policies.words import Explore, LatencyLimit, Preference, Require, Route

from .outcomes import DATA, open_text

ENDPOINTS = {"replicate_13b": 0.2, "fireworks_13b": 0.5, "anyscale_13b": 1.5}
"""With list prices made up for this: dollars per million output tokens."""
LIMITS = (
    LatencyLimit(0.90, 4.5),
    LatencyLimit(0.80, 10.0),
    LatencyLimit(0.95, 15.0),
    LatencyLimit(0.90, 0.6, "first_token"),
    LatencyLimit(0.95, 12.0, "first_token"),
)
WARM_UP = 500
BODY = b'{"model": "auto", "stream": true, "messages": [{"role": "user", "content": "hi"}]}'


class Asked(NamedTuple):
    """One request of the trace."""

    arrival_s: float
    prompt_tokens: int
    completion_tokens: int


class Kept(NamedTuple):
    """What one way of choosing comes to."""

    name: str
    within: float
    """Share of answers inside the budget."""
    usd_per_1k: float


def traffic(count: int) -> list[Asked]:
    """The first rows of the trace."""
    with open_text(DATA / "traces" / "azure_llm_conv_2023.csv.gz") as file:
        return [
            Asked(float(r["arrival_s"]), int(r["context_tokens"]), int(r["generated_tokens"]))
            for r, _ in zip(csv.DictReader(file), range(count), strict=False)
        ]


def tails() -> dict[str, list[tuple[float, float]]]:
    """(time to first token, time per token) as measured, by endpoint."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ENDPOINTS}
    with open_text(DATA / "traces" / "llmperf_latency.csv.gz") as file:
        for row in csv.DictReader(file):
            if row["endpoint"] in found and row["ttft_s"] and row["inter_token_s"]:
                pair = (float(row["ttft_s"]), float(row["inter_token_s"]))
                found[row["endpoint"]].append(pair)
    return found


def routed(
    name: str,
    asked: Sequence[Asked],
    measured: dict[str, list[tuple[float, float]]],
    limit: LatencyLimit,
    *,
    candidates: Sequence[str] = tuple(ENDPOINTS),
    prefer: Preference = "cheapest",
) -> Kept:
    """Decide, answer, learn, request by request."""
    facts = {n: BackendFacts(n, price=Price(input=0.1, output=p)) for n, p in ENDPOINTS.items()}
    route = Route(
        name="default",
        candidates=tuple(candidates),
        require=Require(latency=limit),
        prefer=prefer,
        if_none="fastest",
        explore=Explore(0.03) if len(candidates) > 1 else None,
    )
    policy = Policy([route], facts)
    features = _features()
    match = policy.route_for("auto", {})
    assert match is not None  # every known name has the default route
    learned, chance = Learned(), random.Random(0)
    inside, spent_usd = 0, 0.0
    for number, one in enumerate(asked):
        decision = decide(policy, match, features, World(learned), decision_id="d", seed=number)
        assert decision.chosen is not None
        first_s, gap_s = chance.choice(measured[decision.chosen])
        total_s = first_s + max(0, one.completion_tokens - 1) * gap_s
        usage = Usage(one.prompt_tokens, one.completion_tokens)
        learned.observe(
            Observation(
                decision.chosen, "chat", features.prompt_bytes, usage, first_s, total_s, True
            ),
            one.arrival_s,
        )
        if number >= WARM_UP:
            inside += (total_s if limit.of == "total" else first_s) <= limit.budget_s
            spent_usd += one.completion_tokens * ENDPOINTS[decision.chosen] / 1e6
    count = len(asked) - WARM_UP
    return Kept(name, inside / count, 1000 * spent_usd / count)


def table(*, count: int) -> Iterator[tuple[LatencyLimit, list[Kept]]]:
    """Every limit: the route, the lowest quantile, each endpoint alone."""
    asked, measured = traffic(count), tails()
    for limit in LIMITS:
        yield (
            limit,
            [
                routed("cheapest in time", asked, measured, limit),
                routed("lowest quantile", asked, measured, limit, prefer="fastest"),
                *(routed(f"{n} alone", asked, measured, limit, candidates=(n,)) for n in ENDPOINTS),
            ],
        )


def _features() -> Features:
    return read_features(
        parse_chat(BODY), body_bytes=len(BODY), label_headers={"task": "chat"},
        conversation_header=None, caller=None,
    )  # fmt: skip
