import pytest

from policies.words import ACCEPT_DEFAULT, ConfidenceRule
from tests.support.policy_cases import errors_of, route_of, warnings_of


def test_defaults():
    route = route_of("candidates: [local]").route
    assert route.match is None
    assert (route.prefer, route.if_none, route.hold) == ("cheapest", "surest", "none")
    assert (route.sticky, route.capture, route.redact) == ("none", "full", False)
    assert route.confidence is None
    assert route.escalate is None
    assert route.on_failure == ()
    assert route.timeout.total_s == 300


def test_hold_is_all_where_answers_may_be_escalated():
    assert route_of("candidates: local, escalate: {to: gpt-4}").route.hold == "all"


@pytest.mark.parametrize(("written", "hold"), [("none", "none"), ("all", "all"), ("64", 64)])
def test_hold(written, hold):
    assert route_of(f"candidates: local, hold: {written}").route.hold == hold


@pytest.mark.parametrize("written", ["some", "0", "-1", "1.5", "true"])
def test_hold_of_anything_else_is_refused(written):
    text = f"routes: {{default: {{candidates: local, hold: {written}}}}}"
    assert len(errors_of(text)) == 1


def test_escalation_without_confidence_is_judged_by_checks_and_schema():
    route = route_of("candidates: local, escalate: {to: gpt-4}").route
    assert route.confidence == ConfidenceRule(("checks", "schema"), ACCEPT_DEFAULT)


def test_off_is_a_word_not_a_boolean():
    assert route_of("candidates: local, capture: off").route.capture == "off"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("candidate: [gpt-4]", "1:20: unknown key 'candidate' in route 'default'; did you mean"),
        ("prefer: fastest", "1:19: route 'default' needs 'candidates'"),
        ("candidates: local, prefer: cheap", "prefer: 'cheap' is not one of"),
        ("candidates: local, if_none: refuse", "if_none: 'refuse' is not one of"),
        ("candidates: local, sticky: user", "sticky: 'user' is not one of"),
        ("candidates: local, capture: false", "capture: 'false' is not one of"),
        ("candidates: local, redact: off", "redact: expected true or false, not 'off'"),
        ("candidates: local, on_failure: [gpt5]", "on_failure: no backend 'gpt5'"),
    ],
)  # fmt: skip
def test_refuses(words, error):
    errors = errors_of(f"routes: {{default: {{{words}}}}}")
    assert any(error in found for found in errors), errors


@pytest.mark.parametrize("words", ["prefer: fastest", "hold: all", "redact: true"])
def test_words_in_effect_are_not_warned_about(words):
    assert warnings_of(f"routes: {{default: {{candidates: local, {words}}}}}") == []
