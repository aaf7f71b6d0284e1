"""What labels certify, and what they do not."""

import random
from collections.abc import Mapping
from math import exp
from typing import Any

import pytest

from learning.calibrate import (
    GAIN_NEVER,
    Judge,
    Judged,
    Method,
    Refused,
    accepted_words,
    calibrate_route,
    label_digest,
    method_of,
    silent_in_doubt,
)
from learning.labelled import Given, Row
from policies.features import parse_chat, read_features
from policies.fitted import GIVEN_NAMES, NOTHING_FITTED, Fitted
from policies.learned import Learned
from policies.lock import RouteLock, void_reason
from policies.policy import Policy
from policies.text_features import SHAPE_NAMES
from policies.text_model import Head, TextModel, pack_grams
from tests.support.policy_cases import policy_of

CASCADE = "confidence: {from: [logprobs], accept: calibrated}, escalate: {to: ESCALATE}"


def promising(words: str = CASCADE, candidates: str = "[local]", to: str = "gpt-4") -> Policy:
    more = f", {words.replace('ESCALATE', to)}" if words else ""
    return policy_of(
        f"routes: {{r: {{candidates: {candidates},"
        f" require: {{error: {{max: 9%, reference: gpt-4}}}}{more}}},"
        " default: {candidates: [gpt-4]}}"
    )


@pytest.fixture(scope="module")
def policy() -> Policy:
    return promising()


def rows(count: int, *, reference_error: float = 0.02, seed: int = 0) -> list[Judged]:
    """Answers that are right as often as their confidence says."""
    chance = random.Random(seed)
    found = []
    for number in range(count):
        confidence = chance.random()
        wrong = int(chance.random() > 0.4 + 0.6 * confidence)
        reference = int(chance.random() < reference_error)
        found.append(Judged(str(number), -confidence, wrong, reference, reference))
    return found


def calibrate(
    policy: Policy, judged: list[Judged], method: Method = "confidence"
) -> RouteLock | Refused:
    return calibrate_route(policy.routes[0], policy.backends, judged, now_us=5, method=method)


def certified(policy: Policy, judged: list[Judged], method: Method = "confidence") -> RouteLock:
    found = calibrate(policy, judged, method)
    assert isinstance(found, RouteLock), found
    return found


# -- what is proved ------------------------------------------------------------------------------


def test_enough_labels_certify_a_threshold_that_holds(policy: Policy) -> None:
    lock = certified(policy, rows(1000))
    assert lock.accept is not None
    assert 0.2 < lock.accept < 1.0
    assert lock.bound <= 0.09
    assert lock.gain is None
    assert void_reason(lock, policy.routes[0], policy.backends) is None
    fresh = rows(20_000, seed=1)
    wrong = sum(
        (row.first_wrong if -(row.doubt or 0) >= lock.accept else row.doubted_wrong) or 0
        for row in fresh
    )
    assert wrong / len(fresh) < 0.09


def test_a_number_is_tested_as_the_one_policy_it_is() -> None:
    written = promising(CASCADE.replace("calibrated", "0.8"))
    lock = certified(written, rows(1000))
    assert lock.accept == 0.8
    daring = promising(CASCADE.replace("calibrated", "0.1"))
    assert certified(daring, rows(1000)).accept is None


def test_without_doubt_it_is_all_or_nothing() -> None:
    written = promising("")
    good = [row._replace(first_wrong=int(number % 25 == 0)) for number, row in enumerate(rows(500))]
    assert certified(written, good, "all").accept == 0.0
    assert certified(written, rows(500), "all").accept is None


def test_a_gain_is_proved_as_a_confidence_is() -> None:
    written = promising("")
    lock = certified(written, rows(1000), "gain")
    assert (lock.accept, lock.gain is not None) == (None, True)
    assert -1.0 < (lock.gain or 0) < -0.2
    perfect = [row._replace(first_wrong=0) for row in rows(1000)]
    assert certified(written, perfect, "gain").gain == GAIN_NEVER


def test_who_is_asked_in_doubt_must_be_known_to_be_right() -> None:
    silent = [row._replace(doubted_wrong=None) for row in rows(500)]
    lock = certified(promising(to="o3-mini"), silent)
    assert lock.accept is None  # the reference alone is proved
    assert silent_in_doubt(silent) == (500, 500)


# -- what is not ---------------------------------------------------------------------------------


def test_too_few_labels_say_how_many_more(policy: Policy) -> None:
    found = calibrate(policy, rows(25, reference_error=0.0))
    assert isinstance(found, Refused)
    assert found.labels_needed == 32
    assert found.reason == "25 labels are too few: 7 more are needed"


def test_no_labels_are_refused(policy: Policy) -> None:
    found = calibrate(policy, [Judged("a", -0.5, None, None, None, is_labelled=False)])
    assert isinstance(found, Refused)
    assert "pointsman label" in found.reason


def test_a_reference_that_misses_the_limit_itself_is_named(policy: Policy) -> None:
    found = calibrate(policy, rows(300, reference_error=0.2))
    assert isinstance(found, Refused)
    assert "itself is wrong" in found.reason


def test_labels_that_say_nothing_of_the_reference_are_no_proof(policy: Policy) -> None:
    silent = [row._replace(reference_wrong=None, doubted_wrong=None) for row in rows(500)]
    found = calibrate(policy, silent)
    assert isinstance(found, Refused)
    assert "say nothing of the reference" in found.reason


def test_an_unknown_confidence_goes_on(policy: Policy) -> None:
    for doubt in (None, float("nan")):
        judged = [row._replace(doubt=doubt, first_wrong=1) for row in rows(500)]
        assert certified(policy, judged).bound <= 0.09


def test_the_digest_is_that_of_the_labels() -> None:
    judged = rows(10)
    assert label_digest(judged) == label_digest(judged[::-1])
    assert label_digest(judged) != label_digest(judged[:-1])


# -- one capture ---------------------------------------------------------------------------------


def row(
    right: Mapping[str, int],
    *,
    first: str = "local",
    confidence: float | None = 0.7,
    reason: str = "",
    **changes: Any,
) -> Row:
    body = b'{"model": "auto", "messages": []}'
    options: dict[str, Any] = {"label_headers": {"task": "t"}, "conversation_header": None}
    features = read_features(parse_chat(body), body_bytes=len(body), caller=None, **options)
    given = Given(first, "5", "5", confidence, -0.1, -0.4)
    made = Row("a", "r", features, "2 + 3", given, first, (given,), right, reason, True, False)
    return made._replace(**changes)


def fitted() -> Fitted:
    """Answers are trusted as sure as their confidence; gpt-4 is right more often than local."""
    zeros = (0.0,) * len(SHAPE_NAMES)
    two = (Head("local", 0.0, zeros, {}), Head("gpt-4", 2.0, zeros, {}))
    prompts = TextModel((pack_grams(10, [], [], [[], []]),), two, 9)
    weights = tuple(float(name == "confidence") for name in GIVEN_NAMES)
    none = pack_grams(10, [], [], [[]])
    answers = TextModel((none, none), (Head("local", 0.0, weights, {}),), 9)
    return Fitted("d", prompts, answers)


def judge(written: Policy, *, models: Fitted = NOTHING_FITTED) -> Judge:
    return Judge(written, written.routes[0], learned=Learned(), fitted=models)


def test_a_first_answer_is_held_against_its_label(policy: Policy) -> None:
    found = judge(policy).judge(row({"local": 0, "gpt-4": 1}))
    assert found == Judged("a", -0.7, 1, 0, 0)


def test_what_a_label_does_not_say_is_unknown(policy: Policy) -> None:
    assert judge(policy).judge(row({"local": 1})) == Judged("a", -0.7, 0, None, None)


def test_a_capture_without_a_label_has_a_confidence_only(policy: Policy) -> None:
    found = judge(policy).judge(row({}))
    assert found == Judged("a", -0.7, None, None, None, is_labelled=False)
    uneven = judge(policy).judge(row({"local": 1}, is_even=False))
    assert uneven is not None
    assert not uneven.is_labelled


def test_whoever_is_asked_in_doubt_is_the_first_to_be_escalated_to() -> None:
    found = judge(promising(to="[o3-mini, gpt-4]")).judge(row({"local": 0, "o3-mini": 1}))
    assert found == Judged("a", -0.7, 1, 0, None)


def test_what_another_backend_answered_first_says_nothing_and_is_counted(policy: Policy) -> None:
    made = judge(policy)
    assert made.judge(row({"gpt-4": 1}, first="gpt-4", reason="no certified lock")) is None
    assert made.judge(row({"local": 1})._replace(first=None)) is None
    assert sum(made.left_out.values()) == 2


def test_the_reference_chosen_first_is_the_reference_in_every_policy() -> None:
    made = judge(promising(candidates="[gpt-4]", to="o3-mini"))
    assert made.judge(row({"gpt-4": 0}, first="gpt-4")) == Judged("a", None, 1, 1, 1)


def test_a_fitted_model_says_how_far_an_answer_is_trusted(policy: Policy) -> None:
    made = judge(policy, models=fitted())
    assert made.model == "d"
    found = made.judge(row({"local": 1, "gpt-4": 1}))
    assert found is not None
    assert found.doubt == pytest.approx(-1 / (1 + exp(-0.7)))
    refused = made.judge(row({"local": 0}, confidence=0.0))
    assert refused is not None
    assert refused.doubt == 0.0  # a check that failed is beyond the model


def test_what_a_model_was_fitted_on_proves_nothing_of_it(policy: Policy) -> None:
    seen = judge(policy, models=fitted()).judge(row({"local": 1}, is_fitted_on=True))
    assert seen is not None
    assert not seen.is_labelled
    unused = judge(policy).judge(row({"local": 1}, is_fitted_on=True))
    assert unused is not None
    assert unused.is_labelled


def test_the_gain_is_that_of_the_reference_over_todays_choice() -> None:
    made = judge(promising(""), models=fitted())
    assert made.method == "gain"
    found = made.judge(row({"local": 1, "gpt-4": 1}))
    assert found is not None
    assert found.doubt == pytest.approx(1 / (1 + exp(-2.0)) - 0.5)


def test_what_a_gain_sent_to_the_reference_is_not_known_of_the_cheap_one() -> None:
    made = judge(promising(""), models=fitted())
    found = made.judge(row({"gpt-4": 1}, first="gpt-4", reason="reference gpt-4: +40%"))
    assert found is not None
    assert (found.first_wrong, found.reference_wrong) == (None, 0)
    assert made.judge(row({"gpt-4": 1}, first="gpt-4", reason="no certified lock")) is None


def test_the_method_is_what_the_route_can_do_with_doubt() -> None:
    assert method_of(promising().routes[0], NOTHING_FITTED) == "confidence"
    assert method_of(promising("").routes[0], fitted()) == "gain"
    assert method_of(promising("").routes[0], NOTHING_FITTED) == "all"


def test_a_threshold_is_told_in_words():
    assert accepted_words(None) == "the reference answers everything"
    assert accepted_words(5e-324) == "answers are accepted unless their confidence is 0"
    assert accepted_words(0.8041) == "answers are accepted from confidence 0.804 on"
