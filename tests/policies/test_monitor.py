"""The watch over a promise."""

import random

import msgspec
import pytest

from policies.monitor import (
    PSI_WARNING,
    Monitor,
    PromiseWatch,
    observe,
    saw_answer,
    saw_complaint,
    saw_label,
    stability_index,
    watch,
    watch_promise,
)


def feed(monitor: Monitor, share: float, count: int, seed: int = 0) -> Monitor:
    chance = random.Random(seed)
    for _ in range(count):
        monitor = observe(monitor, float(chance.random() < share))
    return monitor


def test_a_promise_that_holds_raises_no_alarm() -> None:
    alarms = sum(
        feed(watch("r", limit=0.1, delta=0.05), 0.08, 500, seed).is_broken for seed in range(60)
    )
    assert alarms <= 3


def test_a_broken_promise_is_found_and_stays_found() -> None:
    found = feed(watch("r", limit=0.09, delta=0.05), 0.25, 400)
    assert found.is_broken
    assert feed(found, 0.0, 1000).alarmed_after == found.alarmed_after


@pytest.mark.parametrize("loss", [None, float("nan")])
def test_an_unknown_label_tells_nothing(loss: float | None) -> None:
    before = watch("r", limit=0.09, delta=0.05)
    assert observe(before, loss) == before


def test_a_weight_beyond_its_bound_counts_as_the_bound() -> None:
    start = watch("r", limit=0.09, delta=0.05, weight_max=4.0)
    assert observe(start, 1.0, weight=100.0) == observe(start, 1.0, weight=4.0)


def test_a_watch_outlives_a_restart() -> None:
    found = feed(watch("r", limit=0.09, delta=0.05), 0.25, 20)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=Monitor)
    assert again == found


def test_drift_is_told() -> None:
    assert stability_index([50, 50], [500, 500]) == 0
    assert stability_index([50, 50, 0], [10, 10, 80]) > PSI_WARNING
    assert stability_index([0, 0], [1, 1]) == 0


def test_a_promise_is_refuted_by_labels_checks_or_complaints() -> None:
    start = watch_promise("r", proof="a", limit=0.09, delta=0.05)
    assert start.broken is None
    by_labels = by_checks = by_complaints = start
    for _ in range(60):
        by_labels = saw_label(by_labels, 1.0)
        by_checks = saw_answer(by_checks, failed_check=True)
        by_complaints = saw_complaint(saw_answer(by_complaints, failed_check=None))
    found = [one.broken for one in (by_labels, by_checks, by_complaints)]
    assert [one and one[0] for one in found] == ["labels", "checks", "complaints"]
    again = msgspec.json.decode(msgspec.json.encode(by_checks), type=PromiseWatch)
    assert again == by_checks


def test_answers_nobody_complains_of_are_no_proof_against_a_promise() -> None:
    watched = watch_promise("r", proof="a", limit=0.09, delta=0.05)
    for number in range(2000):
        watched = saw_answer(watched, failed_check=number % 20 == 0)
        if number % 20 == 1:
            watched = saw_complaint(watched)
        watched = saw_label(watched, None)
    assert watched.broken is None
    assert watched.labels.wealth.count == 0
