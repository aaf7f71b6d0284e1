import dataclasses

import msgspec
import pytest

from adapters.backend import Backend
from learning.benchmark import Item
from learning.benchmark_result import Grading, changes, compare_pairs, grade, last_words, summarise
from pointsman.tokens import Price, Usage
from policies.words import CostLimit, ErrorLimit, LatencyLimit, Require
from tests.support.backends import questions

BACKEND = Backend("a", "simulated", "m", price=Price(input=1.0, output=10.0))
BACKENDS = {"a": BACKEND, "b": dataclasses.replace(BACKEND, name="b")}
REQUIRE = Require(LatencyLimit(0.9, 0.2), ErrorLimit(0.09, 0.95, "b"), CostLimit(0.01))


def item(text, *, ms=100.0, cost=0.001, error=None, reasoning=None):
    usage = Usage(10, 20, reasoning)
    return Item(text, error, int(ms * 1000), int(ms * 500), cost, None, usage)


def right(n):
    return f'{{"payoff": {n}.0}}'


def graded(a, b=None, count=None, **grading):
    items = {"a": a} if b is None else {"a": a, "b": b}
    return grade(questions(count or len(a)), items, Grading(require=REQUIRE, **grading))


def test_failures_and_wrong_answers_are_errors():
    a = [item(right(0)), item("no"), item(None, error="timeout", ms=5000), None]
    (result,) = summarise(graded(a), BACKENDS)
    assert (result.n, result.n_judged, result.n_err) == (3, 3, 2)
    assert result.failures == {"timeout": 1}
    assert result.p95.value == 5_000_000


def test_a_call_that_failed_at_once_says_nothing_of_speed():
    (result,) = summarise(graded([item(right(0)), item(None, error="status_500", ms=1)]), BACKENDS)
    assert result.p50.value == 100_000


def test_reasoning_is_shown_apart():
    (result,) = summarise(graded([item(right(0), reasoning=15)]), BACKENDS)
    assert result.reasoning_usd_per_1k == pytest.approx(1000 * 15 * 10 / 1e6)
    assert result.usd_per_1k.value == pytest.approx(1.0)


def judged(result):
    return {r.name: r.judgement for r in result.requirements}


def test_requirements_are_met_missed_or_undecided():
    good = [item(right(n)) for n in range(200)]
    (result,) = summarise(graded(good), BACKENDS)
    assert judged(result) == {"error": "met", "late": "met", "cost": "met"}
    assert result.meets_all
    bad = [item("no", ms=900, cost=0.1) for _ in range(200)]
    (result,) = summarise(graded(bad), BACKENDS)
    assert judged(result) == {"error": "missed", "late": "missed", "cost": "missed"}
    few = [item(right(n) if n else "no", ms=100 if n else 900) for n in range(30)]
    (result,) = summarise(graded(few), BACKENDS)
    assert judged(result) == {"error": "undecided", "late": "undecided", "cost": "met"}
    assert result.requirements[0].more_samples == 68
    assert not result.meets_all


def test_a_cost_between_its_bounds_is_undecided():
    a = [item(right(n), cost=0.001 if n % 2 else 0.0195) for n in range(40)]
    (result,) = summarise(graded(a), BACKENDS)
    assert judged(result)["cost"] == "undecided"


def test_what_nobody_knows_is_unknown_not_wrong():
    asked = [msgspec.structs.replace(q, expected=None) for q in questions(3)]
    items = {"a": [item("x", cost=None), item(None, error="timeout"), None]}
    (result,) = summarise(grade(asked, items, Grading(require=REQUIRE)), BACKENDS)
    assert (result.n_judged, result.n_err) == (1, 1)  # the timeout is wrong whatever is right


def test_a_reference_stands_for_what_is_right():
    asked = [msgspec.structs.replace(q, expected=None) for q in questions(3)]
    items = {"a": [item("1"), item("2"), item("3")], "b": [item("1"), item("9"), None]}
    found = grade(asked, items, Grading(reference="b"))
    a, b = summarise(found, BACKENDS)
    assert (a.n_judged, a.n_err) == (2, 1)
    assert (b.is_reference, b.error) == (True, None)


def test_pairs_are_tested_on_the_same_questions():
    a = [item(right(n), ms=100, cost=0.002) for n in range(20)]
    b = [item(right(n) if n < 8 else "no", ms=300, cost=0.001) for n in range(20)]
    (pair,) = compare_pairs(graded(a, b))
    assert (pair.n, pair.only_first_right, pair.only_second_right) == (20, 12, 0)
    assert pair.p_adjusted == pytest.approx(2 / 2**12)
    assert pair.latency_s.value == pytest.approx(-0.2)
    assert pair.usd_per_1k.value == pytest.approx(1.0)


def test_what_a_move_fixes_and_breaks():
    a = [item(right(0)), item("no"), item("no"), None]
    b = [item("no"), item(right(1)), item("no"), item(right(3))]
    fixed, broken = changes(graded(a, b), "a", "b")
    assert [c.question_id for c in fixed] == ["q1"]
    assert [c.question_id for c in broken] == ["q0"]
    assert (broken[0].first, broken[0].second) == (right(0), "no")
    assert broken[0].asked == "Call 0: payoff 0.00?"


def test_the_last_words_of_any_question():
    (question,) = questions(1, body={"messages": [{"role": "user", "content": [{"type": "x"}]}]})
    assert last_words(question) == '[{"type":"x"}]'
