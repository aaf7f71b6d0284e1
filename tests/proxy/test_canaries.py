"""What requests teach a canary, and what the operator may say."""

import re
from pathlib import Path

import pytest

from policies.canary_run import stage_word
from proxy import canaries
from proxy.canaries import BadCommand, command, describe, follow, new_steps
from proxy.trials_file import Trials
from telemetry.record import FeedbackRecord
from tests.support.trial_rows import (
    TEXT,
    begun,
    configured,
    copy_of,
    fold_in,
    looked,
    now_us,
    row,
    run_of,
)

PLAIN = configured()
HALF = configured("50%, 100%")


def matter(trials: Trials, name: str) -> tuple[int, float | None]:
    """Count and mean of one matter."""
    found = next(one for one in run_of(trials).trial.matters if one.name == name)
    return found.count, found.mean


def test_a_canary_of_the_file_begins_and_one_without_words_is_forgotten() -> None:
    trials = begun(PLAIN)
    assert stage_word(run_of(trials)) == "shadow"
    assert follow(PLAIN, trials, now_us=9).runs == trials.runs
    changed = configured("shadow, 20%")
    assert run_of(follow(changed, trials, now_us=9)).since_us == 9
    without = configured(text=re.sub(r"    canary:\n.*\n", "", TEXT))
    assert follow(without, trials, now_us=9).runs == {}


def test_copies_make_pairs(tmp_path: Path) -> None:
    trials = begun(PLAIN)
    records = [row() for _ in range(8)]
    fold_in(tmp_path, records, labels=[copy_of(one) for one in records])
    trials = looked(tmp_path, PLAIN, trials)
    assert run_of(trials).samples == 8
    assert matter(trials, "error") == (8, 0.0)
    assert looked(tmp_path, PLAIN, trials).runs == trials.runs  # nothing is counted twice


def test_a_conversation_counts_once(tmp_path: Path) -> None:
    trials = begun(PLAIN)
    records = [row(conversation="one") for _ in range(5)]
    fold_in(tmp_path, records, labels=[copy_of(one) for one in records])
    assert run_of(looked(tmp_path, PLAIN, trials)).samples == 1


def test_copies_of_what_another_backend_answered_tell_nothing(tmp_path: Path) -> None:
    trials = begun(PLAIN)
    record = row(decided="gpt-4")
    fold_in(tmp_path, [record], labels=[copy_of(record)])
    assert run_of(looked(tmp_path, PLAIN, trials)).samples == 0


def test_labels_of_a_copied_request_are_held_against_both(tmp_path: Path) -> None:
    trials = begun(PLAIN)
    record, other = row(), row()
    said = copy_of(record, source="shadow", backend="gpt-4", agrees=True)
    late = copy_of(other, source="shadow", backend="gpt-4", agrees=False, output=b"7")
    fold_in(tmp_path, [record, other], labels=[said, copy_of(record), copy_of(other, output=b"7")])
    trials = looked(tmp_path, PLAIN, trials)
    assert matter(trials, "labels") == (1, 0.0)  # the label was there first
    fold_in(tmp_path, labels=[late])
    assert matter(looked(tmp_path, PLAIN, trials), "labels") == (2, -0.5)


def test_copy_and_label_in_one_look_are_compared_once(tmp_path: Path) -> None:
    before, trials, record = row(), begun(PLAIN), row()
    said, of_before = [
        copy_of(one, source="shadow", backend="gpt-4", agrees=True) for one in (record, before)
    ]
    copies = [copy_of(record), copy_of(before)]
    fold_in(tmp_path, [before, record], labels=[*copies, said, of_before])
    assert matter(looked(tmp_path, PLAIN, trials), "labels") == (1, 0.0)


def test_each_side_teaches_for_its_own_backend(tmp_path: Path) -> None:
    trials = begun(HALF)
    fold_in(tmp_path, [row() for _ in range(6)])
    news = [row(decided="new", canary="new", confidence=0.0) for _ in range(4)]
    fold_in(tmp_path, news)
    fold_in(tmp_path, [row(decided="gpt-4", canary="new"), row(decided="gpt-4")])
    trials = looked(tmp_path, HALF, trials)
    assert run_of(trials).samples == 4
    assert matter(trials, "error") == (4, 1.0)


def test_what_was_answered_before_a_canary_began_is_not_its_own(tmp_path: Path) -> None:
    old = row(decided="new", canary="new")
    trials = begun(HALF)
    fold_in(tmp_path, [old, row(ts_us=1)])
    trials = looked(tmp_path, HALF, trials)
    assert run_of(trials).samples == 0
    assert matter(trials, "error") == (0, None)


def test_a_step_is_made_as_soon_as_it_is_due_and_told_once(tmp_path: Path) -> None:
    before = begun(HALF)
    pairs = [(row(), row(decided="new", canary="new", confidence=0.0)) for _ in range(40)]
    fold_in(tmp_path, [one for pair in pairs for one in pair])
    after = looked(tmp_path, HALF, before)
    assert run_of(after).status == "rolled_back"
    assert run_of(after).samples < 40
    assert [step.what for _, step in new_steps(before, after)] == ["rolled_back"]
    assert list(new_steps(after, after)) == []


def test_feedback_is_a_label_and_counts_once(tmp_path: Path) -> None:
    trials = begun(HALF)
    new, old = row(decided="new", canary="new", backend="gpt-4"), row()
    fold_in(
        tmp_path,
        [new, old],
        feedback=[
            FeedbackRecord("1", old.id, now_us(), "thumb", number=1.0),
            FeedbackRecord("2", new.id, now_us(), "thumb", number=0.0),
            FeedbackRecord("3", new.id, now_us(), "thumb", number=0.0),
        ],
    )
    assert matter(looked(tmp_path, HALF, trials), "labels") == (1, 1.0)


def test_conversations_remembered_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canaries, "UNITS_MAX", 3)
    trials = begun(HALF)
    fold_in(tmp_path, [row() for _ in range(6)])
    assert len(looked(tmp_path, HALF, trials).units["extract"]) == 3


def say(trials: Trials, word: str, route: str = "extract") -> Trials:
    return command(PLAIN, trials, route, word, now_us=now_us(), reason="")


def test_the_operator_moves_it() -> None:
    trials = begun(PLAIN)
    assert say(trials, "start") == trials
    on = say(trials, "next")
    assert stage_word(run_of(on)) == "10%"
    promoted = say(on, "promote")
    back = say(promoted, "rollback")
    assert (run_of(promoted).status, run_of(back).status) == ("promoted", "rolled_back")
    anew = say(back, "start")
    assert [step.by for step in run_of(anew).steps] == ["operator"]
    assert stage_word(run_of(anew)) == "shadow"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("next", "next"), "last stage"),
        (("promote", "promote"), "promoted already"),
        (("promote", "next"), "promoted already"),
        (("promote", "start"), "`canary rollback` first"),
        (("rollback", "promote"), "`canary start` begins anew"),
        (("rollback", "rollback"), "was rolled back"),
    ],
)
def test_what_it_cannot_do_is_told(words: tuple[str, ...], said: str) -> None:
    trials = begun(PLAIN)
    *before, last = words
    for word in before:
        trials = say(trials, word)
    with pytest.raises(BadCommand, match=said):
        say(trials, last)


def test_a_route_without_one_is_told() -> None:
    with pytest.raises(BadCommand, match=r"route 'default' has no canary.*\(extract\)"):
        say(begun(PLAIN), "start", "default")


def test_described_for_people_and_programs() -> None:
    trials = say(begun(PLAIN), "next")
    route = canaries.routes_with_canary(PLAIN)["extract"]
    found = describe(route, run_of(trials))
    assert (found["stage"], found["share"], found["status"]) == ("10%", 0.1, "running")
    assert found["suggested_edit"] is None
    told = describe(route, run_of(say(trials, "promote")))
    assert (told["share"], told["waits_for"]) == (1.0, [])
    assert "candidates: [new]" in str(told["suggested_edit"])
