import pytest

from policies.words import Canary, KeepIf
from tests.support.policy_cases import errors_of, route_of


def words_of(canary):
    return f"candidates: [local, gpt-4], canary: {{{canary}}}"


def test_reads_stages():
    route = route_of(
        words_of(
            "backend: local-v2, replaces: local, stages: [shadow, 1%, 100%], "
            "keep_if: {error: +0.5pp, p95: 200ms, cost: +3%}, min_samples: 7, then: promote"
        )
    ).route
    assert route.canary == Canary(
        "local-v2", "local", ("shadow", 0.01, 1.0), KeepIf(0.005, 0.95, 0.2, 0.03), 7, "promote"
    )


def test_share_is_a_single_stage_and_hold_the_default_end():
    canary = route_of(
        "candidates: local, canary: {backend: local-v2, share: 5%, keep_if: {error: +0pp}}"
    ).route.canary
    assert canary == Canary("local-v2", "local", (0.05,), KeepIf(error=0.0), 500, "hold")


GOOD = "backend: local-v2, replaces: local, share: 5%, keep_if: {error: +1pp}"


@pytest.mark.parametrize(
    ("canary", "message"),
    [
        (GOOD.replace("replaces: local, ", ""), "needs 'replaces': which candidate?"),
        (GOOD.replace("replaces: local", "replaces: o3-mini"), "is not one of the candidates"),
        (GOOD.replace("backend: local-v2", "backend: gpt-4"), "'gpt-4' is a candidate already"),
        (GOOD.replace("backend: local-v2, ", ""), "needs 'backend'"),
        (GOOD.replace("share: 5%, ", ""), "needs either share: 5% or stages:"),
        (GOOD + ", stages: [1%]", "needs either share: 5% or stages:"),
        (GOOD.replace("share: 5%", "stages: [10%, 1%]"), "then shares that grow"),
        (GOOD.replace("share: 5%", "stages: [1%, shadow]"), "shadow comes first"),
        (GOOD.replace("share: 5%", "stages: [1%, 1%]"), "then shares that grow"),
        (GOOD.replace("+1pp", "1pp"), "write +0.5pp (points) or +3% (relative)"),
        (GOOD.replace("{error: +1pp}", "{}"), "what must the canary keep?"),
        (GOOD.replace("error: +1pp", "p90: 1s, p95: 2s"), "takes one latency limit"),
        (GOOD.replace(", keep_if: {error: +1pp}", ""), "needs 'keep_if'"),
        (GOOD + ", then: ship", "'ship' is not one of promote, hold"),
        (GOOD + ", min_samples: 0", "0 is below 1"),
    ],
)
def test_refuses(canary, message):
    errors = errors_of(f"routes:\n  r: {{{words_of(canary)}}}\n  default: {{candidates: [gpt-4]}}")
    assert any(message in error for error in errors), errors
