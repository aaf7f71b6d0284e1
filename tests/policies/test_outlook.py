"""What a part of an answer tells of the whole."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.confidence import Answer, judge
from policies.outlook import TOKENS_MIN, Outlook, Watched, outlook, watched_in
from policies.words import Check, ConfidenceRule, Route
from tests.support.policy_cases import route_of

HELD = Watched(accept=0.8, flow_tokens=None, reads_logprobs=True, needs_json=False)
FIRST_20 = Watched(accept=0.8, flow_tokens=20, reads_logprobs=True, needs_json=False)
JSON = Watched(accept=0.8, flow_tokens=None, reads_logprobs=False, needs_json=True)


def after(watched: Watched, share: float, tokens: int) -> Outlook:
    """After so many tokens of this probability each."""
    return outlook(watched, tokens=tokens, logprobs=[math.log(share)] * tokens, opening="text")


def test_the_first_tokens_flow_or_are_hopeless_by_their_confidence() -> None:
    assert after(FIRST_20, 0.9, 19).word == "wait"
    assert after(FIRST_20, 0.9, 20).word == "flow"
    assert after(FIRST_20, 0.9, 20).confidence == pytest.approx(0.9)
    assert after(FIRST_20, 0.7, 20).word == "hopeless"
    assert outlook(FIRST_20, tokens=20, logprobs=(), opening="x").word == "flow"


def test_a_whole_that_waits_is_hopeless_only_where_the_rest_could_not_save_it() -> None:
    assert after(HELD, 0.7, 1000).word == "wait"  # the root of 0.7 is 0.84
    assert after(HELD, 0.6, 1000).word == "hopeless"
    assert after(HELD, 0.1, TOKENS_MIN - 1).word == "wait"


@pytest.mark.parametrize("opening", ['{"a"', "  [1", '"x', "-1", "true", "null", "", " \n"])
def test_what_may_become_json_waits(opening: str) -> None:
    assert outlook(JSON, tokens=1, logprobs=(), opening=opening).word == "wait"


@pytest.mark.parametrize("opening", ["The amount", "```json\n{}", "\n I", "\ufeff{"])
def test_what_cannot_become_json_is_hopeless(opening: str) -> None:
    found = outlook(JSON, tokens=1, logprobs=(), opening=opening)
    assert (found.word, found.confidence) == ("hopeless", 0.0)


@given(st.lists(st.floats(), max_size=80), st.integers(1, 100))
def test_each_look_waits_for_more(logprobs: list[float], tokens: int) -> None:
    for watched in (HELD, FIRST_20, JSON):
        found = outlook(watched, tokens=tokens, logprobs=logprobs, opening="")
        assert found.next_tokens > tokens
        assert found.confidence is None or 0.0 <= found.confidence <= 1.0


@given(st.text(min_size=1).filter(lambda text: text.strip() != ""))
def test_nothing_is_called_hopeless_that_would_pass(text: str) -> None:
    check = Check("c", "")
    rule = ConfidenceRule(("checks",), 0.8)
    route = Route(name="r", candidates=("a",), confidence=rule, checks=(check,), hold="all")
    found = outlook(JSON, tokens=1, logprobs=(), opening=text)
    if found.word == "hopeless":
        whole = judge(route, Answer(text), prompt_text="", response_schema=None)
        assert whole.value == 0.0


@pytest.mark.parametrize(
    ("words", "watched"),
    [
        ("hold: all", None),
        ("hold: none, confidence: {from: logprobs, accept: 0.8}", None),
        ("hold: all, confidence: {from: logprobs, accept: 0.8}", HELD),
        ("hold: 20, confidence: {from: logprobs, accept: 0.8}", FIRST_20),
        ("hold: all, confidence: {from: [logprobs, agreement], agree_with: gpt-4}", None),
        ("hold: all, confidence: {judge: gpt-4, from: schema}", None),
        ("hold: 9, confidence: {from: schema}", Watched(0.5, 9, False, False)),
        ("hold: 9, require: {error: {max: 9%, reference: gpt-4}},"
         " confidence: {from: logprobs, accept: calibrated}", None),
    ],
)  # fmt: skip
def test_what_there_is_to_look_for(words: str, watched: Watched | None) -> None:
    route = route_of(f"candidates: local, {words}").route
    assert watched_in(route, has_schema=False) == watched


def test_a_schema_asks_for_json() -> None:
    route = route_of("candidates: local, hold: all, confidence: {from: schema, accept: 0.8}").route
    assert watched_in(route, has_schema=True) == JSON
