import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.budget import Budget, BudgetRefused, micro, most_micro
from learning.ledger import Ledger
from pointsman.tokens import Price


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path) as opened:
        yield opened


def state(ledger):
    row = ledger.row("select * from budgets")
    return row["reserved_micro"], row["spent_micro"]


def test_what_would_pass_the_cap_is_not_reserved(ledger):
    budget = Budget(ledger, "job", 0.001)
    assert budget.reserve(600)
    assert not budget.reserve(401)
    assert budget.reserve(400)
    assert state(ledger) == (1000, 0)


def test_what_a_call_did_not_cost_is_free_again(ledger):
    budget = Budget(ledger, "job", 0.001)
    budget.reserve(900)
    budget.settle(900, 100)
    assert state(ledger) == (0, 100)
    assert budget.reserve(900)
    assert budget.spent_usd == 0.0001


def test_a_call_dearer_than_possible_is_told_and_ends_the_budget(ledger):
    budget = Budget(ledger, "job", 0.001)
    budget.reserve(500)
    budget.settle(500, 5000)
    assert state(ledger) == (0, 1000)
    assert budget.overrun_micro == 4500
    assert not budget.reserve(1)


def test_a_job_goes_on_with_what_it_has_spent(ledger):
    Budget(ledger, "job", 0.001).reserve(300)
    again = Budget(ledger, "job", 0.002)
    again.release_all()
    assert again.reserve(2000)
    with pytest.raises(BudgetRefused, match="spent or reserved already"):
        Budget(ledger, "job", 0.001)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 700), st.integers(0, 900))))
def test_the_cap_holds_whatever_comes(tmp_path_factory, calls):
    with Ledger(tmp_path_factory.mktemp("b")) as ledger:
        budget = Budget(ledger, "job", 0.001)
        for reserved, spent in calls:
            if budget.reserve(reserved):
                budget.settle(reserved, spent)
            held, paid = state(ledger)
            assert held + paid <= 1000
            assert held >= 0


def test_the_most_a_call_can_cost():
    facts = {"prompt_bytes": 100, "messages": 1, "output_tokens": 10}
    assert most_micro(Price(input=1.0, output=2.0), **facts) == 100 + 32 + 20
    assert most_micro(Price(input=1.0, output=2.0, cache_write=2.0), **facts) == 264 + 20
    assert most_micro(Price(per_hour=5.0), **facts) == 0


@pytest.mark.parametrize(
    ("price", "tokens"), [(None, 5), (Price(), 5), (Price(input=1.0, output=1.0), None)]
)
def test_what_cannot_be_reckoned_is_not_sent(price, tokens):
    with pytest.raises(BudgetRefused):
        most_micro(price, prompt_bytes=1, messages=1, output_tokens=tokens)


def test_costs_are_rounded_up():
    assert micro(0.0000011, 9) == 2
    assert micro(0.000001, 9) == 1
    assert micro(None, 9) == 9
