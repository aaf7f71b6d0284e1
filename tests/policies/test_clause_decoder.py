import pytest

from policies.words import (
    ConfidenceRule,
    CostLimit,
    ErrorLimit,
    Escalate,
    Explore,
    Hedge,
    LatencyLimit,
    Match,
    Shadow,
    Timeout,
    Weights,
)
from tests.support.policy_cases import errors_of, route_of, warnings_of


def text_of(words):
    return f"routes:\n  r: {{candidates: [local], {words}}}\n  default: {{candidates: [gpt-4]}}"


@pytest.mark.parametrize(
    ("words", "get", "expected"),
    [
        ("match: {model: gpt-4}", lambda r: r.match, Match(("gpt-4",))),
        (
            "match: {labels: {Task: [a, 1], app: '*'}}",
            lambda r: r.match,
            Match((), (("task", ("a", "1")), ("app", ("*",)))),
        ),
        (
            "require: {latency: {p99.5: 1.5s}}",
            lambda r: r.require.latency,
            LatencyLimit(0.995, 1.5, "total"),
        ),
        (
            "require: {latency: {p50: 80ms, of: first_token}}",
            lambda r: r.require.latency,
            LatencyLimit(0.5, 0.08, "first_token"),
        ),
        (
            "require: {error: {max: 9%, reference: gpt-4}}",
            lambda r: r.require.error,
            ErrorLimit(0.09, 0.95, "gpt-4"),
        ),
        ("require: {cost: {max: $0.004}}", lambda r: r.require.cost, CostLimit(0.004)),
        (
            "confidence: {from: [logprobs, checks], accept: 0.8}",
            lambda r: r.confidence,
            ConfidenceRule(("checks", "logprobs"), 0.8),
        ),
        ("confidence: {judge: gpt-4}", lambda r: r.confidence.judge, "gpt-4"),
        ("confidence: {accept: 1}", lambda r: r.confidence.accept, 1.0),
        ("escalate: {to: gpt-4}", lambda r: r.escalate, Escalate(("gpt-4",), 1, None)),
        ("timeout: {total: 30s}", lambda r: r.timeout, Timeout(30, 30, 30)),
        ("timeout: {idle: 5s}", lambda r: r.timeout, Timeout(300, 120, 5)),
        ("hedge: {after: p95, max_extra_cost: 5%}", lambda r: r.hedge, Hedge(0.05, 0.95, None)),
        ("hedge: {after: 2s, max_extra_cost: 5%}", lambda r: r.hedge, Hedge(0.05, None, 2.0)),
        ("explore: {share: 3%}", lambda r: r.explore, Explore(0.03)),
        ("shadow: {backend: gpt-4, share: 2%}", lambda r: r.shadow, Shadow("gpt-4", 0.02, 10.0)),
        (
            "shadow: {backend: gpt-4, share: 2%, budget: $0.5}",
            lambda r: r.shadow,
            Shadow("gpt-4", 0.02, 0.5),
        ),
        (
            "prefer: weighted, weights: {error: $0.05, late: $0.01}",
            lambda r: r.weights,
            Weights(0.05, 0.01),
        ),
    ],
)
def test_reads(words, get, expected):
    assert get(route_of(f"candidates: [local], {words}").route) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("match: {}", "route 'r': match names nothing; write model: '*' to take every model"),
        ("match: {labels: {}}", "names nothing"),
        ("match: {model: []}", "model: the list is empty"),
        ("match: {model: [[a]]}", "model: expected text, not a list"),
        ("match: {labels: {task: []}}", "task: the list is empty"),
        ("match: {metadata: {a: b}}", "unknown key 'metadata'"),
        ("require: {latency: {p90: 200}}", "'200' is not a duration"),
        ("require: {latency: {p90: 0s}}", "'0s' is no time at all"),
        ("require: {latency: {p0: 1s}}", "'p0' is not a quantile"),
        ("require: {latency: {p90: 1s, p99: 2s}}", "needs one limit such as p90: 200ms, not 2"),
        ("require: {latency: {of: total}}", "needs one limit such as p90: 200ms, not 0"),
        ("require: {latency: {p90: 1s, of: totl}}", "did you mean 'total'?"),
        ("require: {latency: {q90: 1s}}", "unknown key 'q90'"),
        ("require: {error: {max: 9%}}", "needs 'reference'"),
        ("require: {error: {max: 0%, reference: gpt-4}}", "must lie between 0% and 100%"),
        ("require: {error: {max: 9%, confidence: 100%, reference: gpt-4}}", "must lie between"),
        ("require: {error: {max: 9, reference: gpt-4}}", "'9' is not a share"),
        ("require: {cost: {max: 0.004}}", "'0.004' is not an amount; write dollars as $0.004"),
        ("require: {cost: {}}", "needs 'max'"),
        ("require: {costs: {max: $1}}", "unknown key 'costs' in route 'r': require; did you mean"),
        ("confidence: {from: [logprob]}", "did you mean 'logprobs'?"),
        ("confidence: {from: []}", "from: the list is empty"),
        ("confidence: {accept: 1.5}", "1.5 is above 1; write a number from 0 to 1, or calibrated"),
        ("confidence: {accept: 90%}", "expected a number, not '90%'"),
        ("escalate: {max_steps: 1}", "needs 'to'"),
        ("escalate: {to: gpt-4, max_steps: 0}", "0 is below 1"),
        ("escalate: {to: gpt-4, within: fast}", "'fast' is not a duration"),
        ("timeout: {total: -1s}", "'-1s' is not a duration"),
        ("timeout: {first_token: 300s, total: 400s}", "clients give up at 300 s"),
        ("timeout: {first_token: 20s, total: 10s}", "first_token: 20 s is longer than total: 10 s"),
        ("timeout: {totl: 10s}", "did you mean 'total'?"),
        ("hedge: {after: p95}", "needs 'max_extra_cost'"),
        ("hedge: {after: p0, max_extra_cost: 5%}", "'p0' is not a quantile"),
        ("hedge: {after: [1s], max_extra_cost: 5%}", "expected a quantile or a duration"),
        ("explore: {share: 0.03}", "'0.03' is not a share; write a percentage as 5%"),
        ("explore: {share: 101%}", "more than 100%"),
        ("shadow: {backend: gpt-9, share: 1%}", "no backend 'gpt-9'"),
        ("weights: {error: $0}, prefer: weighted", "weigh nothing"),
        ("require: [latency]", "must be a mapping, not a list"),
    ],
)
def test_refuses(words, message):
    errors = errors_of(text_of(words))
    assert any(message in error for error in errors), errors


def test_fault_stands_at_the_value():
    assert errors_of("""
        routes:
          default:
            candidates: [gpt-4]
            require:
              latency:
                p90: 200
    """)[0].startswith("6:14: p90:")


def test_exploring_too_little_is_warned_about():
    assert any("below 2%" in warning for warning in warnings_of(text_of("explore: {share: 1%}")))
    assert not any(
        "below 2%" in warning for warning in warnings_of(text_of("explore: {share: 2%}"))
    )


def test_a_limit_that_cannot_be_read_is_told_once():
    errors = errors_of("routes: {default: {candidates: gpt-4, require: {latency: {p90: 2}}}}")
    assert len(errors) == 1
    assert "'2' is not a duration" in errors[0]
