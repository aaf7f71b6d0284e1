"""Promises held against what came in, and what becomes of a refuted one."""

from dataclasses import replace
from pathlib import Path

import msgspec

from policies.lock import Lock, RouteLock, route_digest
from proxy import promises
from proxy.configuration import Configuration
from proxy.trials_file import Trials, proof_id, suspended_in, without_former
from telemetry.record import FeedbackRecord
from tests.support.trial_rows import configured, copy_of, fold_in, looked, now_us, row

TEXT = """\
backends:
  local: {adapter: simulated}
  gpt-4: {adapter: simulated}
checks: {amount: {at: /payoff, in_prompt: true}}
routes:
  extract:
    candidates: [local, gpt-4]
    require: {error: {max: 10%, reference: gpt-4}}
    confidence: {from: [checks], accept: calibrated}
    checks: [amount]
  default: {candidates: [gpt-4]}
"""


def certified(*, made_us: int = 1, former: bool = False) -> Configuration:
    configuration = configured(text=TEXT)
    (route,) = [one for one in configuration.written.routes if one.name == "extract"]
    digest = route_digest(route, configuration.written.backends)
    proof = RouteLock(0.5, 0.1, 0.95, "gpt-4", 400, 20, 0.07, digest, "x", made_us=made_us)
    older = msgspec.structs.replace(proof, made_us=made_us - 1)
    lock = Lock({"extract": proof}, {"extract": older} if former else {})
    return replace(configuration, lock=lock)


def fed(directory: Path, configuration: Configuration, count: int, **row_words: object) -> Trials:
    trials = promises.follow(configuration, Trials(), now_us=now_us())
    fold_in(directory, [row(decided="local", **row_words) for _ in range(count)])
    return looked(directory, configuration, trials)


def test_a_certified_promise_is_watched_and_no_other() -> None:
    assert set(promises.follow(certified(), Trials(), now_us=1).watches) == {"extract"}
    assert promises.follow(configured(text=TEXT), Trials(), now_us=1).watches == {}


def test_failed_checks_refute_it(tmp_path: Path) -> None:
    configuration = certified()
    trials, broken = promises.refute(fed(tmp_path, configuration, 40, confidence=0.0))
    assert "refuted by checks: 100.0% of" in broken["extract"]
    assert suspended_in(configuration.lock, trials.refuted) == broken
    assert promises.follow(configuration, trials, now_us=now_us()).watches == {}
    assert promises.refute(trials)[1] == {}  # told once


def test_answers_that_pass_do_not(tmp_path: Path) -> None:
    trials, broken = promises.refute(fed(tmp_path, certified(), 200))
    assert broken == {}
    described = promises.describe(certified(), trials)["extract"]
    assert described["refuted"] is None  # type: ignore[index]
    assert described["watched_by"]["checks"]["count"] == 200  # type: ignore[index]


def test_what_was_not_answered_says_nothing(tmp_path: Path) -> None:
    trials = fed(tmp_path, certified(), 40, confidence=0.0, status="error")
    assert trials.watches["extract"].checks.wealth.count == 0


def test_what_was_answered_before_a_proof_says_nothing_of_it(tmp_path: Path) -> None:
    before = [row(decided="local", confidence=0.0) for _ in range(40)]
    trials = promises.follow(certified(), Trials(), now_us=now_us())
    said = [copy_of(one, source="shadow", backend="gpt-4", agrees=False) for one in before]
    told = [FeedbackRecord(one.id, one.id, now_us(), "thumb", number=0.0) for one in before]
    fold_in(tmp_path, before, labels=said, feedback=told)
    trials = looked(tmp_path, certified(), trials)
    watch = trials.watches["extract"]
    assert [one.wealth.count for one in (watch.labels, watch.checks, watch.complaints)] == [0] * 3


def test_labels_refute_it(tmp_path: Path) -> None:
    configuration = certified()
    trials = promises.follow(configuration, Trials(), now_us=now_us())
    records = [row(decided="local") for _ in range(30)]
    labels = [copy_of(one, source="shadow", backend="gpt-4", agrees=False) for one in records]
    canary = [copy_of(one, agrees=False) for one in records]
    fold_in(tmp_path, records, labels=[*labels, *canary])
    trials = looked(tmp_path, configuration, trials)
    watch = trials.watches["extract"]
    assert "refuted by labels" in promises.refute(trials)[1]["extract"]
    assert 0 < watch.labels.wealth.count <= 30  # what a canary says is no label


def test_complaints_refute_it_each_request_once(tmp_path: Path) -> None:
    configuration = certified()
    trials = promises.follow(configuration, Trials(), now_us=now_us())
    records = [row(decided="local") for _ in range(40)]
    said = [
        FeedbackRecord(f"{number}-{again}", one.id, now_us(), "thumb", number=0.0)
        for number, one in enumerate(records)
        for again in range(2)
    ]
    fold_in(tmp_path, records, feedback=said)
    trials = looked(tmp_path, configuration, trials)
    assert trials.watches["extract"].complaints.wealth.count <= 80
    assert "refuted by complaints" in promises.refute(trials)[1]["extract"]


def test_a_former_proof_counts_until_it_is_refuted_too(tmp_path: Path) -> None:
    configuration = certified(made_us=2, former=True)
    lock = configuration.lock
    trials, _ = promises.refute(fed(tmp_path, configuration, 40, confidence=0.0))
    trials = promises.follow(configuration, trials, now_us=now_us())
    assert trials.watches["extract"].proof == proof_id(lock.former["extract"])
    assert without_former(lock, trials.refuted) == []
    fold_in(tmp_path, [row(decided="local", confidence=0.0) for _ in range(40)])
    trials, broken = promises.refute(looked(tmp_path, configuration, trials))
    assert "extract" in broken
    assert without_former(lock, trials.refuted) == ["extract"]
    assert promises.follow(configuration, trials, now_us=now_us()).watches == {}
    assert promises.certified_now(configuration, trials) == {}


def test_a_new_lock_is_a_new_promise(tmp_path: Path) -> None:
    trials, _ = promises.refute(fed(tmp_path, certified(), 40, confidence=0.0))
    anew = promises.follow(certified(made_us=5), trials, now_us=now_us())
    assert suspended_in(certified(made_us=5).lock, anew.refuted) == {}
    assert anew.watches["extract"].checks.wealth.count == 0
    assert promises.describe(certified(), trials)["extract"]["refuted"]  # type: ignore[index]
