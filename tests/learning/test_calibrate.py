"""What labels certify, and what they do not."""

import random
from typing import Any

import pytest

from learning.calibrate import Judged, Refused, calibrate_route, judge_capture, label_digest
from learning.captured import Captured
from learning.label_store import Verdict
from policies.lock import RouteLock, void_reason
from policies.policy import Policy
from tests.support.policy_cases import policy_of
from tests.support.records import RESPONSE

TEXT = (
    "routes: {r: {candidates: [local], require: {error: {max: 9%, reference: gpt-4}}},"
    " default: {candidates: [gpt-4]}}"
)


@pytest.fixture(scope="module")
def policy() -> Policy:
    return policy_of(TEXT)


def rows(count: int, *, reference_error: float = 0.02, seed: int = 0) -> list[Judged]:
    """Answers that are right as often as their confidence says."""
    chance = random.Random(seed)
    found = []
    for number in range(count):
        confidence = chance.random()
        wrong = int(chance.random() > 0.4 + 0.6 * confidence)
        reference = int(chance.random() < reference_error)
        found.append(Judged(str(number), confidence, wrong, reference))
    return found


def calibrate(policy: Policy, judged: list[Judged]) -> RouteLock | Refused:
    return calibrate_route(policy.routes[0], policy.backends, judged, now_us=5)


def test_enough_labels_certify_a_threshold_that_holds(policy: Policy) -> None:
    lock = calibrate(policy, rows(1000))
    assert isinstance(lock, RouteLock)
    assert lock.accept is not None
    assert 0.2 < lock.accept < 1.0
    assert lock.bound <= 0.09
    assert void_reason(lock, policy.routes[0], policy.backends) is None
    fresh = rows(20_000, seed=1)
    wrong = sum(
        (row.first_wrong if (row.confidence or 0) >= lock.accept else row.reference_wrong) or 0
        for row in fresh
    )
    assert wrong / len(fresh) < 0.09


def test_too_few_labels_say_how_many_more(policy: Policy) -> None:
    found = calibrate(policy, rows(25, reference_error=0.0))
    assert isinstance(found, Refused)
    assert found.labels_needed == 32
    assert found.reason == "25 labels are too few: 7 more are needed"


def test_no_labels_are_refused(policy: Policy) -> None:
    found = calibrate(policy, [Judged("a", 0.5, None, None, is_labelled=False)])
    assert isinstance(found, Refused)
    assert "pointsman label" in found.reason


def test_a_reference_that_misses_the_limit_itself_is_named(policy: Policy) -> None:
    found = calibrate(policy, rows(300, reference_error=0.2))
    assert isinstance(found, Refused)
    assert "itself is wrong" in found.reason


def test_labels_that_say_nothing_of_the_reference_are_no_proof(policy: Policy) -> None:
    silent = [row._replace(reference_wrong=None) for row in rows(500)]
    found = calibrate(policy, silent)
    assert isinstance(found, Refused)
    assert "say nothing of the reference" in found.reason


def test_an_unknown_confidence_goes_to_the_reference(policy: Policy) -> None:
    unknown = [row._replace(confidence=None, first_wrong=1) for row in rows(500)]
    nan = [row._replace(confidence=float("nan"), first_wrong=1) for row in rows(500)]
    for judged in (unknown, nan):
        lock = calibrate(policy, judged)
        assert isinstance(lock, RouteLock)
        assert lock.bound <= 0.09


def test_the_digest_is_that_of_the_labels() -> None:
    judged = rows(10)
    assert label_digest(judged) == label_digest(judged[::-1])
    assert label_digest(judged) != label_digest(judged[:-1])


def captured(backend: str) -> Captured:
    fields: dict[str, Any] = dict.fromkeys(Captured._fields)
    return Captured(**{**fields, "id": "a", "backend": backend, "response": RESPONSE})


def judged(backend: str, verdict: Verdict | None) -> Judged:
    attempts = [{"kind": "primary", "backend": "local", "confidence": 0.7}]
    capture = {"id": "a", "attempts": attempts}
    return judge_capture(capture, captured(backend), verdict, "gpt-4", ["gpt-4"])


def verdict(text: str, source: Any = "human", model: str | None = None) -> Verdict:
    return Verdict({"role": "assistant", "content": text}, source, model=model)


def test_a_first_answer_is_held_against_its_label() -> None:
    assert judged("local", verdict("1,250.10")) == Judged("a", 0.7, 0, None)
    assert judged("local", verdict("7")) == Judged("a", 0.7, 1, None)


def test_the_references_own_label_is_right_by_definition() -> None:
    found = judged("local", verdict("7", "teacher", "gpt-4-0613"))
    assert (found.first_wrong, found.reference_wrong) == (1, 0)


def test_an_escalated_answer_tells_of_the_reference_only() -> None:
    assert judged("gpt-4", verdict("1250.1")) == Judged("a", 0.7, None, 0)


@pytest.mark.parametrize("label", [None, verdict("7", "feedback")])
def test_without_an_even_label_a_capture_has_a_confidence_only(label: Verdict | None) -> None:
    assert judged("local", label) == Judged("a", 0.7, None, None, is_labelled=False)
