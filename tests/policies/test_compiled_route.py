import pytest

from policies.compiled_route import describe_limits, quantile_word, span_word, usd_word
from policies.words import CostLimit, LatencyLimit, Require
from tests.support.policy_cases import route_of


def compiled_of(words):
    return route_of(words).compiled


@pytest.mark.parametrize(
    ("amount", "word"),
    [(0.004, "$0.004"), (0.0348, "$0.0348"), (0.00012345, "$0.000123"), (1.5, "$1.5"), (2, "$2"),
     (0, "$0.00"), (123.456, "$123.46"), (1e-6, "$0.000001")],
)  # fmt: skip
def test_money_is_never_written_in_powers_of_ten(amount, word):
    assert usd_word(amount) == word


@pytest.mark.parametrize(
    ("span_s", "word"),
    [(0.2, "200 ms"), (0.0405, "40.5 ms"), (1, "1 s"), (1.5, "1.5 s"), (30, "30 s")],
)
def test_spans_have_the_unit_an_operator_would_write(span_s, word):
    assert span_word(span_s) == word


def test_quantiles_are_written_as_in_the_file():
    assert [quantile_word(q) for q in (0.5, 0.9, 0.995)] == ["p50", "p90", "p99.5"]


def test_limits_are_told_in_words():
    require = Require(LatencyLimit(0.9, 0.2), None, CostLimit(0.004))
    assert describe_limits(require) == "p90 200 ms and $0.004"
    assert describe_limits(Require()) == ""


def test_reference_stands_beside_the_candidates():
    compiled = compiled_of("candidates: local, require: {error: {max: 9%, reference: gpt-4}}")
    assert [(c.backend, c.is_reference_only) for c in compiled.candidates] == [
        ("local", False),
        ("gpt-4", True),
    ]
    assert compiled.surest == ("gpt-4",)


def test_surest_is_the_reference_then_escalation_from_its_end():
    compiled = compiled_of(
        "candidates: [local, gpt-4], escalate: {to: [gpt-4, o3-mini]}, "
        "require: {error: {max: 9%, reference: local}}"
    )
    assert compiled.surest == ("local", "o3-mini", "gpt-4")


def test_latency_ranks_at_the_quantile_asked_for():
    assert compiled_of("candidates: local").question.quantile == 0.95
    limited = compiled_of("candidates: local, require: {latency: {p50: 1s, of: first_token}}")
    assert (limited.question.quantile, limited.question.of) == (0.5, "first_token")


def plan_of(words, chosen):
    return [(s.step, s.backend, s.condition) for s in compiled_of(words).plans[chosen]]


def test_plan_of_every_choice_leaves_out_who_was_asked():
    words = (
        "candidates: [local, gpt-4], escalate: {to: [gpt-4, o3-mini]}, on_failure: [gpt-4, local]"
    )
    assert plan_of(words, "gpt-4") == [
        ("ask", "gpt-4", "first"),
        ("escalate", "o3-mini", "confidence below 0.5"),
        ("fallback", "local", "error or timeout before the first byte"),
    ]


def test_plan_escalates_no_more_than_max_steps():
    words = "candidates: local, escalate: {to: [gpt-4, o3-mini], max_steps: 2}"
    assert [step for step, *_ in plan_of(words, "local")] == ["ask", "escalate", "escalate"]


@pytest.mark.parametrize(
    ("after", "words"), [("p95", "its own p95"), ("2s", "2 s"), ("p99.9", "its own p99.9")]
)
def test_plan_tells_of_a_second_attempt(after, words):
    route = f"candidates: [local, gpt-4], hedge: {{after: {after}, max_extra_cost: 5%}}"
    told = f"nothing of the answer after {words}; next eligible first"
    assert plan_of(route, "gpt-4") == [("ask", "gpt-4", "first"), ("hedge", "local", told)]


def test_plan_of_one_candidate_hedges_with_itself():
    route = "candidates: local, hedge: {after: p95, max_extra_cost: 5%}"
    assert [(step, name) for step, name, _ in plan_of(route, "local")][1:] == [("hedge", "local")]
