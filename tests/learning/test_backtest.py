"""Replays of kept captures: who would have gone where, what it costs, what is left out."""

import random
from pathlib import Path

import pytest

from learning.backtest import backtest
from policies.fitted import Fitted
from policies.learned import Learned
from policies.policy import Policy
from policies.text_features import SHAPE_NAMES
from policies.text_model import Head, TextModel, pack_grams
from tests.support.policy_cases import policy_of
from tests.support.records import keep, make_candidate, make_record

NEW = "routes: {default: {candidates: [gpt-4]}}"
SAME = "routes: {default: {candidates: [local]}}"


def policy(text: str) -> Policy:
    return policy_of(text)


def explored(count: int, share: float = 0.2, **changes: object) -> list[object]:
    """A log that prefers `local` at $1 and now and then takes `gpt-4` at $3."""
    chance = random.Random(0)
    records = []
    for _ in range(count):
        is_dear = chance.random() < share / 2
        candidates = (
            make_candidate("local", propensity=1 - share / 2),
            make_candidate("gpt-4", propensity=share / 2),
        )
        records.append(
            make_record(
                decided="gpt-4" if is_dear else "local",
                backend="gpt-4" if is_dear else "local",
                cost_usd=(3.0 if is_dear else 1.0) + chance.uniform(-0.1, 0.1),
                candidates=candidates,
                **changes,
            )
        )
    return records


def test_the_new_policys_cost_is_found_in_the_explored_rows(tmp_path: Path) -> None:
    keep(tmp_path, explored(2500))
    found = backtest(tmp_path, policy(NEW), Learned())
    cost = found.findings["cost_usd"]
    assert cost.refusal is None
    assert cost.snips is not None
    assert cost.snips.covers(3.0)
    assert 180 < cost.differing < 320  # one in ten of 2,500 was drawn
    assert cost.logged is not None
    assert cost.logged.value == pytest.approx(1.2, abs=0.1)
    (move,) = found.moves
    assert (move.old, move.new, move.requests) == ("local", "gpt-4", 2500)
    assert move.reason == "the only candidate"


def test_a_log_that_never_explored_cannot_say(tmp_path: Path) -> None:
    never = [
        make_record(candidates=(make_candidate("local"), make_candidate("gpt-4", propensity=0.0)))
    ]
    keep(tmp_path, never * 1)
    finding = backtest(tmp_path, policy(NEW), Learned()).findings["cost_usd"]
    assert "could never have taken" in (finding.refusal or "")


def test_a_policy_that_changes_nothing_needs_no_exploration(tmp_path: Path) -> None:
    keep(tmp_path, [make_record() for _ in range(250)])
    found = backtest(tmp_path, policy(SAME), Learned())
    assert found.moves == []
    assert found.findings["cost_usd"].refusal is None


def test_errors_are_not_known_without_labels(tmp_path: Path) -> None:
    keep(tmp_path, [make_record()])
    finding = backtest(tmp_path, policy(SAME), Learned()).findings["error"]
    assert finding.refusal == "no row of the log has a known value"


def test_what_cannot_be_replayed_is_counted(tmp_path: Path) -> None:
    keep(
        tmp_path,
        [
            make_record(capture="metadata", request=b"", response=b""),
            make_record(candidates=(), decided=None),
            make_record(request=b'{"model": "unheard-of", "messages": []}'),
        ],
    )
    found = backtest(tmp_path, policy(SAME), Learned())
    assert found.rows == 0
    assert sum(found.skipped.values()) == 3


PROMISED = "routes: {default: {candidates: [local], require: {error: {max: 9%, reference: gpt-4}}}}"


def test_a_promise_that_is_proved_lets_others_than_the_reference_answer(tmp_path: Path) -> None:
    keep(tmp_path, explored(50))
    assert [move.new for move in backtest(tmp_path, policy(PROMISED), Learned()).moves] == ["gpt-4"]
    proved = frozenset({"default"})
    assert backtest(tmp_path, policy(PROMISED), Learned(), certified=proved).moves == []


def test_what_is_fitted_says_who_is_surest(tmp_path: Path) -> None:
    keep(tmp_path, explored(50))
    zeros = (0.0,) * len(SHAPE_NAMES)
    heads = (Head("local", 2.0, zeros, {}), Head("gpt-4", 0.0, zeros, {}))
    fitted = Fitted("d", TextModel((pack_grams(10, [], [], [[], []]),), heads, 40))
    surest = policy("routes: {default: {candidates: [gpt-4, local], prefer: surest}}")
    assert [move.new for move in backtest(tmp_path, surest, Learned()).moves] == ["gpt-4"]
    assert backtest(tmp_path, surest, Learned(), fitted=fitted).moves == []
