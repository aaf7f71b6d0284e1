import dataclasses
import json

import msgspec
import pytest

from learning import label as module
from learning.budget import BudgetRefused
from learning.capture_questions import draw_questions
from learning.captured import EVERYTHING, captured
from learning.label import LabelPlan, label
from learning.label_store import Labels
from learning.ledger import Ledger
from learning.teacher import Task
from tests.support.backends import answering, backends_of, questions, scripted
from tests.support.records import keep, make_record
from tests.support.scripted import ScriptedUpstream, request, response, until_closed


def capture(directory, count=10):
    """`count` captured questions; the payoff of the n-th is n."""
    asked = questions(count)
    keep(
        directory,
        [
            make_record(
                request=json.dumps({"model": "m", **q.body}).encode(), conversation=q.conversation
            )
            for q in asked
        ],
    )
    return asked


def plan(directory, count=10, profile="error_rate: 0%", **changes):
    asked = capture(directory / "data", count)
    teacher = backends_of(answering(directory, asked), teacher=profile)["teacher"]
    base = LabelPlan(
        draw_questions(directory / "data", EVERYTHING, sample=1000), teacher, Task("gpt-4"), 5.0
    )
    return msgspec.structs.replace(base, **changes)


def labels(directory):
    with Ledger(directory / "data") as ledger:
        return ledger.rows("select * from labels")


def test_every_question_gets_the_teachers_answer(tmp_path):
    seen = []
    report = label(tmp_path / "data", plan(tmp_path), progress=lambda d, t: seen.append((d, t)))
    assert (report.wanted, report.labelled, report.left) == (10, 10, 0)
    assert 0 < report.spent_usd < 0.02
    assert seen[-1] == (10, 10)
    reader = Labels(tmp_path / "data")
    rows = list(captured(tmp_path / "data"))
    found = reader.verdicts([(row.id, row.input_hash) for row in rows])
    reader.close()
    assert {json.loads(verdict.text)["payoff"] for verdict in found.values()} == set(range(10))
    assert {row["model"] for row in labels(tmp_path)} == {"gpt-4"}


def test_what_was_asked_once_costs_nothing_again(tmp_path):
    wanted = plan(tmp_path)
    first = label(tmp_path / "data", wanted)
    again = label(tmp_path / "data", wanted)
    assert (again.known, again.labelled, again.spent_usd) == (10, 0, first.spent_usd)


def test_after_a_kill_only_what_has_no_label_is_asked(tmp_path):
    class Killed(Exception):
        pass

    def kill(done, total):
        if done == 4:
            raise Killed

    wanted = plan(tmp_path, concurrency=1)
    with pytest.raises(Killed):
        label(tmp_path / "data", wanted, progress=kill)
    report = label(tmp_path / "data", wanted)
    assert (report.known, report.labelled) == (4, 6)
    with Ledger(tmp_path / "data") as ledger:
        assert ledger.row("select * from budgets")["reserved_micro"] == 0


def test_never_spends_more_than_the_cap(tmp_path):
    wanted = plan(tmp_path, budget_usd=0.07)  # one call can cost 0.0656
    report = label(tmp_path / "data", wanted)
    assert report.spent_usd <= 0.07
    assert report.left > 0
    assert report.stopped == "the budget does not reach for another call"
    raised = label(tmp_path / "data", msgspec.structs.replace(wanted, budget_usd=5.0))
    assert raised.left == 0


def test_an_unknown_price_sends_nothing(tmp_path):
    wanted = plan(tmp_path)
    unpriced = dataclasses.replace(wanted.teacher, price=None)
    with pytest.raises(BudgetRefused):
        label(tmp_path / "data", msgspec.structs.replace(wanted, teacher=unpriced))


def test_samples_that_disagree_lower_the_agreement(tmp_path):
    wanted = plan(tmp_path, 30, "error_rate: 40%", task=Task("gpt-4", samples=3))
    assert label(tmp_path / "data", wanted).labelled == 90
    reader = Labels(tmp_path / "data")
    rows = [(row.id, row.input_hash) for row in captured(tmp_path / "data")]
    agreements = {verdict.agreement for verdict in reader.verdicts(rows).values()}
    reader.close()
    assert agreements <= {1 / 3, 2 / 3, 1.0}


def said(finish="stop", **message):
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    usage = {"prompt_tokens": 5, "completion_tokens": 5}
    return response(json.dumps({"choices": [choice], "usage": usage, "model": "r"}).encode())


def test_a_refusal_is_kept_without_text_and_not_asked_again(tmp_path):
    asked = plan(tmp_path, 2, concurrency=1)
    script = [request, said(refusal="no"), request, said("length", content="12"), until_closed]
    with ScriptedUpstream(script) as upstream:
        wanted = msgspec.structs.replace(asked, teacher=scripted(upstream.port))
        report = label(tmp_path / "data", wanted)
        assert report.spoilt == {"refusal": 1, "truncated": 1}
        assert label(tmp_path / "data", wanted).known == 2
    assert [row["output"] for row in labels(tmp_path)] == [None, None]


def test_a_teacher_out_of_order_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TROUBLES_IN_A_ROW_MAX", 3)
    wanted = plan(tmp_path, 9, concurrency=1, teacher=scripted(1))
    report = label(tmp_path / "data", wanted)
    assert (report.failed, report.left) == ({"connection": 3}, 6)
    assert report.stopped == "3 calls failed one after the other"
    assert labels(tmp_path) == []
