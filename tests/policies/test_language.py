import pytest

from pointsman.decoding import Findings
from pointsman.document import Position, parse
from policies.language import load_policy
from tests.support.policy_cases import BACKENDS, errors_of, policy_of, read, warnings_of

DEFAULT = "  default: {candidates: [gpt-4]}\n"

EXAMPLE = """
checks:
  payoff_is_amount: {at: /payoff_amount, schema: {type: number, minimum: 0, maximum: 10000000}}
  payoff_is_in_prompt: {at: /payoff_amount, in_prompt: true}
routes:
  extract:
    match: {model: [auto, gpt-4], labels: {task: "extract-*"}}
    candidates: [local, gpt-4, o3-mini]
    require:
      latency: {p90: 200ms, of: total}
      error: {max: 9%, confidence: 95%, reference: o3-mini}
      cost: {max: $0.004}
    prefer: cheapest
    if_none: surest
    confidence: {from: [checks, schema, logprobs, agreement], agree_with: gpt-4, accept: calibrated}
    checks: [payoff_is_amount, payoff_is_in_prompt]
    escalate: {to: [gpt-4, o3-mini], max_steps: 1, within: 1500ms}
    hold: all
    on_failure: [gpt-4]
    timeout: {total: 30s, first_token: 10s, idle: 60s}
    hedge: {after: p95, max_extra_cost: 5%}
    explore: {share: 3%}
    shadow: {backend: o3-mini, share: 2%}
    canary: {backend: local-v2, replaces: local, stages: [shadow, 1%, 10%, 100%], keep_if: {error: +0.5pp, p95: 200ms, cost: +0%}, min_samples: 500, then: promote}
    sticky: conversation
    capture: full
    redact: false
    probes:
      - {prompt: "Payoff 1,250.10", labels: {task: extract-1}, world: {certified: true, tokens: {local: 8}}, expect: {backend: local}}
  default: {candidates: [gpt-4]}
"""  # noqa: E501 (one word of the language a line)


def test_every_word_of_the_language_at_once():
    route = policy_of(EXAMPLE).route_for("extract", {}).route
    assert route.candidates == ("local", "gpt-4", "o3-mini")
    assert route.match.labels == (("task", ("extract-*",)),)
    assert (route.require.latency.quantile, route.require.latency.budget_s) == (0.9, 0.2)
    assert route.require.error.max == 0.09
    assert route.require.cost.max_usd == 0.004
    assert [check.name for check in route.checks] == ["payoff_is_amount", "payoff_is_in_prompt"]
    assert route.escalate.within_s == 1.5
    assert route.canary.stages == ("shadow", 0.01, 0.1, 1.0)
    assert route.hedge.after_quantile == 0.95


def test_words_ahead_of_their_time_are_warned_about_where_they_stand():
    words = [
        warning.partition("effect: ")[2].partition(" (")[0] for warning in warnings_of(EXAMPLE)
    ]
    assert words == []


def test_all_faults_are_found_in_one_run():
    errors = errors_of("""
        routes:
          a: {candidates: [gpt-5], prefer: dearest}
          b: {candidates: [gpt-4], timeout: {total: 3}}
    """)
    assert [error.partition(": ")[0] for error in errors] == ["2:20", "2:36", "3:45", "2:3"]


def test_routes_are_needed():
    assert errors_of("checks: {}") == ["1:1: routes: missing; a default route is needed"]


def test_a_default_route_that_is_misspelt_is_named():
    errors = errors_of("routes: {defaults: {candidates: [gpt-4]}}")
    assert errors == ["1:9: routes needs 'default'; is 'defaults' meant to be it?"]


def test_default_route_is_needed():
    text = "routes: {a: {match: {model: auto}, candidates: [gpt-4]}}"
    assert errors_of(text) == ["1:9: routes needs 'default'"]


def test_routes_must_be_a_mapping():
    assert errors_of("routes: [a]") == [
        "1:9: routes must be a mapping, not a list",
        "1:9: routes needs 'default'",
    ]


def test_backends_faults_elsewhere_do_not_void_the_policy():
    findings = Findings()
    findings.error(Position("f", 1, 1), "another section's")
    routes = parse("default: {candidates: [gpt-4]}", "f")
    assert load_policy(None, routes, BACKENDS, findings=findings, file="f") is not None


# -- a route that can never match -----------------------------------------------------------------


def unreachable(first, second):
    return errors_of(
        f"routes:\n  a: {{match: {first}, candidates: [gpt-4]}}\n"
        f"  b: {{match: {second}, candidates: [gpt-4]}}\n{DEFAULT}"
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{model: auto}", "{model: auto}"),
        ("{model: auto}", "{model: auto, labels: {task: x}}"),
        ('{model: "*"}', "{model: [auto, gpt-4]}"),
        ('{model: "*"}', "{labels: {task: x}}"),
        ('{model: "gpt-*"}', '{model: "gpt-4*"}'),
        ('{labels: {task: "x*"}}', "{model: auto, labels: {task: [x1, x2]}}"),
    ],
)
def test_route_taken_whole_by_an_earlier_one_is_refused(first, second):
    assert unreachable(first, second) == [
        "3:3: route 'b' can never match: 'a' (line 2) takes all that it would"
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{model: auto}", "{model: [auto, gpt-4]}"),
        ("{model: auto, labels: {task: x}}", "{model: auto}"),
        ('{model: "gpt-4*"}', '{model: "gpt-*"}'),
        ("{labels: {task: x}}", "{labels: {app: x}}"),
    ],
)
def test_route_that_is_left_something_is_accepted(first, second):
    assert unreachable(first, second) == []


def test_route_taken_by_several_earlier_ones_names_them():
    errors = errors_of(f"""
routes:
  a: {{match: {{model: auto}}, candidates: [gpt-4]}}
  b: {{match: {{model: "g*"}}, candidates: [gpt-4]}}
  c: {{match: {{model: [auto, gpt-4]}}, candidates: [gpt-4]}}
{DEFAULT}""")
    assert errors == [
        "4:3: route 'c' can never match: 'a' (line 2) and 'b' (line 3) take all that it would"
    ]


def test_match_on_another_routes_own_name_is_refused():
    assert errors_of(
        f"routes:\n  a: {{match: {{model: b}}, candidates: [gpt-4]}}\n"
        f"  b: {{candidates: [gpt-4]}}\n{DEFAULT}"
    ) == ["2:3: route 'a' can never match: 'b' (line 3) takes all that it would"]


def test_route_without_match_is_reached_by_its_name():
    assert errors_of(f"routes:\n  a: {{candidates: [gpt-4]}}\n{DEFAULT}") == []


def test_five_hundred_routes_load():
    lines = [
        f'  r{i}: {{match: {{model: m{i}, labels: {{task: "t{i}-*"}}}}, candidates: [gpt-4]}}'
        for i in range(500)
    ]
    policy = policy_of("routes:\n" + "\n".join(lines) + "\n" + DEFAULT)
    assert policy.route_for("m499", {"task": "t499-x"}).route.name == "r499"


def test_too_many_routes_are_refused():
    lines = [f"  r{i}: {{candidates: [gpt-4]}}" for i in range(1000)]
    _, findings = read("routes:\n" + "\n".join(lines) + "\n" + DEFAULT)
    assert [p.message for p in findings.errors] == ["1001 routes; 1000 is the most"]
