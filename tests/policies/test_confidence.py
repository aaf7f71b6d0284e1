import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.confidence import Answer, judge, undecided_by
from tests.support.policy_cases import policy_of, route_of

POLICY = policy_of("""
    checks:
      is_amount: {at: /payoff, schema: {type: number, minimum: 0}}
      is_in_prompt: {at: /payoff, in_prompt: true}
    routes:
      checked: {candidates: local, checks: [is_amount, is_in_prompt]}
      schema: {candidates: local, confidence: {from: schema}}
      logprobs: {candidates: local, confidence: {from: logprobs}}
      all: {candidates: local, checks: is_amount, confidence: {from: [checks, schema, logprobs]}}
      default: {candidates: local}
""")
SCHEMA = {"type": "object", "required": ["payoff"]}
PROMPT = "Payoff 1,250.10 as of today"
RIGHT = '{"payoff": 1250.1}'


def judged(route, text=RIGHT, *, prompt=PROMPT, schema=None, **answer):
    return judge(
        POLICY.route_for(route, {}).route,
        Answer(text, **{"finish_reason": "stop", **answer}),
        prompt_text=prompt,
        response_schema=schema,
    )


def test_passed_checks_are_full_confidence():
    found = judged("checked")
    assert found.value == 1
    assert found.signals == {
        "check:is_amount": True, "check:is_in_prompt": True, "schema": None,
    }  # fmt: skip
    assert found.reason == "passed: check:is_amount, check:is_in_prompt"


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ('{"payoff": -1250.1}', "check:is_amount, check:is_in_prompt"),
        ('{"payoff": 99}', "check:is_in_prompt"),
        ('{"amount": 1250.1}', "check:is_amount, check:is_in_prompt"),
        ("1250.1 dollars", "check:is_amount, check:is_in_prompt"),
    ],
)
def test_failed_check_is_no_confidence(text, failed):
    found = judged("checked", text)
    assert found.value == 0
    assert found.reason == f"failed: {failed}"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"text": None}, "empty"),
        ({"text": "  \n"}, "empty"),
        ({"finish_reason": "length"}, "cut by its token limit"),
        ({"finish_reason": "content_filter"}, "stopped by a filter"),
    ],
)
@pytest.mark.parametrize("route", ["checked", "logprobs"])
def test_spoilt_answer_is_no_confidence_on_any_judging_route(route, answer, reason):
    found = judged(route, **answer)
    assert (found.value, found.reason) == (0, reason)


def test_tool_calls_are_an_answer():
    assert judged("schema", None, has_tool_calls=True).value is None


def test_schema_is_the_clients():
    assert judged("schema", schema=SCHEMA).value == 1
    assert judged("schema", '{"amount": 1}', schema=SCHEMA).value == 0
    assert judged("schema", "text", schema=SCHEMA).value == 0


@pytest.mark.parametrize("schema", [None, {"type": "nmber"}, {"$ref": "http://127.0.0.1:1/"}])
def test_schema_that_is_absent_or_unusable_is_unknown(schema):
    found = judged("schema", schema=schema)
    assert found.value is None
    assert found.signals == {"schema": None}
    assert found.reason == "no signal"


def test_logprobs_give_the_geometric_mean():
    found = judged("logprobs", token_logprobs=(math.log(0.5), math.log(0.98)))
    assert found.value == pytest.approx(0.7)
    assert found.signals["logprob_min"] == math.log(0.5)
    assert found.reason == "tokens 0.7"


def test_confidence_does_not_fall_with_length():
    one = judged("logprobs", token_logprobs=(math.log(0.9),) * 1)
    many = judged("logprobs", token_logprobs=(math.log(0.9),) * 500)
    assert one.value == pytest.approx(many.value)


@pytest.mark.parametrize("logprobs", [None, (), (math.nan,)])
def test_without_logprobs_nothing_is_known(logprobs):
    assert judged("logprobs", token_logprobs=logprobs).value is None


def test_impossible_token_is_no_confidence():
    assert judged("logprobs", token_logprobs=(-math.inf, 0.0)).value == 0


def test_the_lowest_signal_decides():
    sure = (math.log(0.9),)
    found = judged("all", schema=SCHEMA, token_logprobs=sure)
    assert found.value == pytest.approx(0.9)
    assert found.reason == "tokens 0.9, passed: check:is_amount, schema"
    assert judged("all", '{"payoff": "x"}', schema=SCHEMA, token_logprobs=sure).value == 0


def test_route_that_judges_nothing_gives_no_value():
    found = judged("default", finish_reason="length")
    assert (found.value, found.signals) == (None, {})


@given(st.text(), st.lists(st.floats(), max_size=5).map(tuple))
def test_any_answer_has_a_confidence_between_0_and_1_or_none(text, logprobs):
    found = judged("all", text, schema=SCHEMA, token_logprobs=logprobs)
    assert found.value is None or 0 <= found.value <= 1


# -- agreement and a judge ---------------------------------------------------------------------

AGREEING = "confidence: {from: [logprobs, agreement], agree_with: gpt-4}, escalate: {to: gpt-4}"
JUDGED = "confidence: {from: [logprobs], judge: gpt-4}, escalate: {to: gpt-4}"


def second(words, text, other=None, **more):
    return judge(
        route_of(f"candidates: local, {words}").route,
        Answer(text, "stop", (-0.7,)),
        prompt_text="",
        response_schema=None,
        other=other,
        **more,
    )


def test_answers_that_agree_by_value_are_taken_for_right():
    found = second(AGREEING, "It is 1,250.10", Answer("#### 1250.1", "stop"))
    assert (found.value, found.signals["agreement"]) == (1.0, True)


def test_answers_that_differ_are_not_trusted():
    found = second(AGREEING, "10", Answer("100", "stop"))
    assert (found.value, found.reason) == (0.0, "failed: agreement")


@pytest.mark.parametrize(
    "other", [None, Answer("", "stop"), Answer("10", "length"), Answer(None, has_tool_calls=True)]
)
def test_a_second_answer_that_says_nothing_leaves_the_other_signals(other):
    found = second(AGREEING, "10", other)
    assert found.signals["agreement"] is None
    assert found.value == pytest.approx(math.exp(-0.7))


def test_a_judge_lowers_what_the_tokens_say():
    assert second(JUDGED, "10", judged=0.2).value == 0.2


@pytest.mark.parametrize("judged", [None, math.nan, -1.0, 7.0])
def test_a_judge_that_says_nothing_usable_is_unknown(judged):
    found = second(JUDGED, "10", judged=judged)
    assert found.signals["judge"] is None
    assert found.value == pytest.approx(math.exp(-0.7))


ASKING = policy_of("""
    checks: {is_amount: {at: /payoff, schema: {type: number, minimum: 0}}}
    routes:
      both:
        candidates: local
        checks: is_amount
        confidence: {from: [checks, agreement], agree_with: gpt-4, judge: o3-mini, accept: 0.8}
      judged: {candidates: local, confidence: {from: logprobs, judge: o3-mini, accept: 0.8}}
      default: {candidates: local}
""")


@pytest.mark.parametrize(
    ("route", "answer", "known", "asides"),
    [
        ("both", Answer(RIGHT), {}, ("agreement", "judge")),
        ("both", Answer(RIGHT), {"other": Answer(RIGHT)}, ()),
        ("both", Answer(RIGHT), {"other": Answer('{"payoff": 2}')}, ()),
        ("both", Answer(RIGHT), {"other": Answer("")}, ("agreement", "judge")),
        ("both", Answer(RIGHT), {"judged": 0.1}, ("agreement",)),
        ("both", Answer("no JSON"), {}, ()),
        ("both", Answer(""), {}, ()),
        ("both", Answer(RIGHT, "length"), {}, ()),
        ("judged", Answer("x"), {}, ("judge",)),
        ("judged", Answer("x", token_logprobs=(-0.1,)), {}, ("judge",)),
        ("judged", Answer("x", token_logprobs=(-1.0,)), {}, ()),
        ("judged", Answer("x"), {"judged": 0.0}, ()),
        ("judged", Answer("x"), {"judged": float("nan")}, ("judge",)),
        ("default", Answer("x"), {}, ()),
    ],
)
def test_nobody_is_asked_whose_word_changes_nothing(route, answer, known, asides):
    rule = ASKING.route_for(route, {}).route
    found = judge(rule, answer, prompt_text="", response_schema=None, **known)
    assert undecided_by(rule, found) == asides
