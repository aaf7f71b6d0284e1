import dataclasses

import msgspec
import pytest

from learning.asking import Reply
from learning.benchmark import (
    Item,
    Plan,
    item_of,
    keep_results,
    output_limit,
    run_benchmark,
)
from learning.budget import BudgetRefused
from learning.ledger import Ledger
from tests.support.backends import answering, backends_of, questions


def plan(directory, count=12, **changes):
    asked = questions(count)
    backends = backends_of(answering(directory, asked), right="error_rate: 0%", other="seed: 3")
    return msgspec.structs.replace(Plan(asked, backends), **changes)


def test_every_question_is_asked_of_every_backend(tmp_path):
    seen = []
    answers = run_benchmark(
        tmp_path / "data", plan(tmp_path), progress=lambda done, total: seen.append((done, total))
    )
    assert (answers.asked, answers.is_stopped) == (24, False)
    assert [item.text for item in answers.items["right"]] == [
        f'{{"payoff":{n}}}' for n in range(12)
    ]
    assert seen[0] == (0, 24)
    assert seen[-1] == (24, 24)


def test_what_was_asked_is_not_asked_again(tmp_path):
    first = run_benchmark(tmp_path / "data", plan(tmp_path))
    again = run_benchmark(tmp_path / "data", plan(tmp_path))
    assert again.asked == 0
    assert [(i.text, i.total_us, i.cost_usd) for i in again.items["other"]] == [
        (i.text, i.total_us, i.cost_usd) for i in first.items["other"]
    ]
    assert run_benchmark(tmp_path / "data", plan(tmp_path, salt="fresh")).asked == 24


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    class Killed(Exception):
        pass

    def kill(done, total):
        if done == 10:
            raise Killed

    with pytest.raises(Killed):
        run_benchmark(tmp_path / "data", plan(tmp_path), progress=kill)
    assert 0 < run_benchmark(tmp_path / "data", plan(tmp_path)).asked <= 14


def test_the_budget_is_never_passed(tmp_path):
    small = plan(tmp_path, budget_usd=0.3)
    answers = run_benchmark(tmp_path / "data", small)
    assert answers.spent_usd <= 0.3
    costs = sum(item.cost_usd for items in answers.items.values() for item in items if item)
    assert costs <= answers.spent_usd + 1e-9
    assert answers.asked == 24


def test_a_budget_too_small_for_one_call_stops_it(tmp_path):
    answers = run_benchmark(tmp_path / "data", plan(tmp_path, budget_usd=0.001))
    assert (answers.asked, answers.is_stopped, answers.spent_usd) == (0, True, 0.0)


def test_an_unknown_price_is_refused_under_a_budget(tmp_path):
    asked = plan(tmp_path, budget_usd=1.0)
    backends = {n: dataclasses.replace(b, price=None) for n, b in asked.backends.items()}
    with pytest.raises(BudgetRefused, match="price is unknown"):
        run_benchmark(tmp_path / "data", msgspec.structs.replace(asked, backends=backends))


def test_a_long_answer_is_kept_to_a_limit():
    assert len(item_of(Reply("x" * (2 << 20), None, 1)).text) == 1 << 20
    assert item_of(Reply(None, "timeout", 7)) == Item(None, "timeout", 7)


@pytest.mark.parametrize(
    ("body", "limit"),
    [({}, None), ({"max_tokens": 5}, 5), ({"max_completion_tokens": 7, "max_tokens": 5}, 7),
     ({"max_tokens": "5"}, None), ({"max_tokens": 0}, None)],
)  # fmt: skip
def test_the_requests_own_limit(body, limit):
    assert output_limit(body) == limit


def test_results_are_kept(tmp_path):
    row = dict.fromkeys(
        ("backend", "model", "err_lo", "err_hi", "p50_us", "p95_us", "p99_us", "cost_usd",
         "reasoning_tok", "seed"), None,
    ) | {"backend": "b", "n": 3, "n_err": 1}  # fmt: skip
    keep_results(tmp_path, [row], {"b": "run"})
    keep_results(tmp_path, [row], {"b": "run"})
    with Ledger(tmp_path) as ledger:
        (kept,) = ledger.rows("select * from eval_runs")
    assert (kept["id"], kept["n_err"]) == ("run", 1)
