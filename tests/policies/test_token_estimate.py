from policies.facts import BackendFacts, Expect
from policies.inquiry import SAMPLES_MIN, Cells, Inquiry, LatencyQuestion
from policies.token_estimate import (
    COMPLETION_TOKENS_PRIOR,
    REASONING_TOKENS_PRIOR,
    SHORT_ANSWER_TOKENS,
    TOKENS_PER_BYTE_PRIOR,
    capped,
    estimate_tokens,
)
from tests.support.policy_cases import learned_from, observation

QUESTION = LatencyQuestion("total", 0.95, None)


def tokens_of(facts, *seen, output_max=None):
    cells = learned_from(*seen).cells(facts.name, "t", 5) if seen else Cells()
    return estimate_tokens(facts, Inquiry(QUESTION, "t", 5, output_max), cells)


def test_assumed_tokens_are_more_for_a_backend_that_thinks():
    plain, thinking = tokens_of(BackendFacts("b")), tokens_of(BackendFacts("b", is_reasoning=True))
    assert plain.output == COMPLETION_TOKENS_PRIOR
    assert thinking.output == COMPLETION_TOKENS_PRIOR + REASONING_TOKENS_PRIOR
    assert plain.is_assumed
    assert plain.output_least == SHORT_ANSWER_TOKENS
    assert plain.per_byte == TOKENS_PER_BYTE_PRIOR


def test_stated_tokens_are_not_assumed():
    tokens = tokens_of(BackendFacts("b", expect=Expect(completion_tokens=40)))
    assert (tokens.output, tokens.output_least) == (40, 40)
    assert not tokens.is_assumed
    assert not tokens.is_measured


def test_measured_tokens_replace_stated_ones_from_enough_samples_on():
    facts = BackendFacts("local", expect=Expect(completion_tokens=40))
    seen = observation(prompt=200, completion=7, cached=50)
    few, enough = (tokens_of(facts, (n, seen)) for n in (SAMPLES_MIN - 1, SAMPLES_MIN))
    assert (few.output, few.is_measured) == (40, False)
    assert (round(enough.output, 6), enough.is_measured) == (7, True)
    assert round(enough.per_byte, 6) == 0.5
    assert round(enough.cached_share, 6) == 0.25


def test_clients_limit_caps_every_figure():
    tokens = tokens_of(BackendFacts("b"), output_max=5)
    assert (tokens.output, tokens.output_least) == (5, 5)
    assert capped(9.0, None) == 9
