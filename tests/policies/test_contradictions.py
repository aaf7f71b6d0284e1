import pytest

from policies.facts import BackendFacts
from tests.support.policy_cases import BACKENDS, errors_of, warnings_of

CHECKS = "checks: {c: {in_prompt: true}}\n"


def text_of(words):
    return f"{CHECKS}routes: {{default: {{{words}}}}}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("candidates: local, prefer: weighted", "prefer: weighted needs weights"),
        ("candidates: local, weights: {late: $1}", "weights count only with prefer: weighted"),
        (
            "candidates: local, confidence: {accept: calibrated}",
            "accept: calibrated needs require.error",
        ),
        ("candidates: local, confidence: {from: agreement}", "need each other"),
        ("candidates: local, confidence: {agree_with: gpt-4}", "need each other"),
        (
            "candidates: local, checks: c, confidence: {from: schema}",
            "checks are listed, but confidence.from leaves them out",
        ),
        ("candidates: local, escalate: {to: local}", "'local' is who answered in the first place"),
        (
            "candidates: local, escalate: {to: gpt-4, within: 2s}, timeout: {total: 1s}",
            "escalate.within: 2 s is longer than timeout.total: 1 s",
        ),
        (
            "candidates: local, shadow: {backend: gpt-4, share: 1%}, capture: 'off'",
            "with capture: off nothing may be kept of it",
        ),
        (
            "candidates: local, hedge: {after: 9s, max_extra_cost: 5%}, timeout: {first_token: 9s}",
            "no second one is ever sent",
        ),
    ],
)
def test_words_that_exclude_each_other_are_refused(words, message):
    errors = errors_of(text_of(words))
    assert len(errors) == 1
    assert message in errors[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("candidates: local, if_none: reject", "if_none never applies: nothing is required"),
        ("candidates: local, confidence: {from: checks}", "the route lists none: always unknown"),
        ("candidates: gpt-4, confidence: {from: logprobs}", "no candidate has logprobs: true"),
        ("candidates: local, escalate: {to: gpt-4}, hold: none", "before it can be escalated"),
        ("candidates: local, escalate: {to: gpt-4, max_steps: 3}", "3 attempts at most"),
        ("candidates: local, on_failure: local", "only the candidate that failed"),
        ("candidates: local, redact: true, capture: metadata", "keeps no body to mask"),
        ("candidates: local, explore: {share: 5%}", "there is only one candidate to draw"),
        (
            "candidates: local, prefer: weighted, weights: {error: $1, late: $1}",
            "no require.latency says what late is",
        ),
        (
            "candidates: gpt-4, require: {latency: {p90: 20s}}, timeout: {total: 10s}",
            "20 s is longer than timeout.total: 10 s",
        ),
        (
            "candidates: gpt-4, shadow: {backend: gpt-4, share: 1%}",
            "'gpt-4' answers every request itself",
        ),
    ],
)
def test_words_that_mean_less_than_they_say_are_warned_about(words, message):
    warnings = warnings_of(text_of(words))
    assert len(warnings) == 1
    assert message in warnings[0]


@pytest.mark.parametrize(
    "words",
    [
        "candidates: local, checks: c",
        "candidates: local, checks: c, confidence: {from: [checks, logprobs], accept: 0.7}",
        "candidates: [local, gpt-4], escalate: {to: [local, gpt-4]}",
        "candidates: local, escalate: {to: gpt-4, within: 2s}, timeout: {total: 2s}",
        "candidates: local, require: {cost: {max: $1}}, if_none: reject",
        "candidates: local, on_failure: [local, gpt-4]",
    ],
)
def test_words_that_go_together_pass(words):
    assert warnings_of(text_of(words)) == []


def test_contradiction_stands_at_the_later_word():
    assert errors_of("""
        routes:
          default:
            candidates: local
            weights: {late: $1}
    """) == ["4:5: weights count only with prefer: weighted"]


UNPRICED = {**BACKENDS, "free": BackendFacts("free")}


def test_a_shadow_without_a_price_has_no_budget():
    words = "candidates: gpt-4, shadow: {backend: free, share: 1%}"
    (warning,) = warnings_of(text_of(words), UNPRICED)
    assert "the price of 'free' is not known; no budget can be held" in warning
    (error,) = errors_of(text_of(words.replace("1%", "1%, budget: $5")), UNPRICED)
    assert "the price of 'free' is not known; give it a price:" in error


@pytest.mark.parametrize(
    ("words", "warning"),
    [
        (
            "require: {latency: {p90: 1s, of: first_token}}, escalate: {to: gpt-4}",
            "hold: all meets latency of: first_token: of a stream nothing is shown before all of it"
            " is there; write hold: 20, or of: total",
        ),
        ("hold: 20", "hold: tokens wait for a confidence, but the route has none"),
        (
            "hold: 20, confidence: {from: schema}",
            "hold: of the first tokens only logprobs tell; confidence.from has none",
        ),
        (
            "confidence: {judge: gpt-4}",
            "agree_with and judge see whole answers: of streams only those under hold: all",
        ),
    ],
)
def test_warns_of_what_waits_for_nothing(words, warning):
    text = f"routes:\n  r: {{candidates: local, {words}}}\n  default: {{candidates: [gpt-4]}}"
    assert warning in [told.partition(": ")[2] for told in warnings_of(text)]


@pytest.mark.parametrize(
    "words",
    [
        "require: {latency: {p90: 1s, of: total}}, escalate: {to: gpt-4}",
        "require: {latency: {p90: 1s, of: first_token}}, escalate: {to: gpt-4}, hold: 20,"
        " confidence: {from: logprobs}",
        "confidence: {judge: gpt-4}, hold: all",
    ],
)
def test_says_nothing_of_what_waits_for_something(words):
    text = f"routes:\n  r: {{candidates: local, {words}}}\n  default: {{candidates: [gpt-4]}}"
    assert warnings_of(text) == []
