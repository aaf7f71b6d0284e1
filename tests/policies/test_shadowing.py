"""In virtual time: who is drawn, and what copies may cost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.shadowing import HOUR_S, HOURS, DailyBudget, is_drawn

DAY_S = HOURS * HOUR_S


def test_the_seed_alone_says_who_is_drawn():
    drawn = [is_drawn(seed, 0.02, backend="o3-mini") for seed in range(1000)]
    assert drawn == [is_drawn(seed, 0.02, backend="o3-mini") for seed in range(1000)]
    assert drawn != [is_drawn(seed, 0.02, backend="gpt-4") for seed in range(1000)]


def test_as_many_are_drawn_as_the_share_says():
    drawn = sum(is_drawn(seed, 0.02, backend="o3-mini") for seed in range(50_000))
    assert 900 < drawn < 1100  # 3 standard deviations are 94


@pytest.mark.parametrize(("share", "expected"), [(0.0, False), (1.0, True)])
def test_nobody_and_everybody(share, expected):
    assert {is_drawn(seed, share, backend="b") for seed in range(1000)} == {expected}


def test_an_hours_part_is_there_at_once_and_no_more():
    budget = DailyBudget(24.0)
    for _ in range(10):
        assert budget.take(0.0)
        budget.pay(0.1)
    assert not budget.take(0.0)
    assert budget.spent_usd == pytest.approx(1.0)


def test_money_comes_back_evenly():
    budget = DailyBudget(24.0)
    budget.take(0.0)
    budget.pay(1.0)
    assert not budget.take(0.5 * HOUR_S)  # fifty cents, and a call costs a dollar
    assert budget.take(HOUR_S)


def test_what_is_under_way_is_reserved_for():
    budget = DailyBudget(24.0)
    budget.take(0.0)
    budget.pay(0.4)  # sixty cents are left
    assert budget.take(0.0)
    assert budget.take(0.0)
    assert not budget.take(0.0)


def test_a_call_of_unknown_cost_frees_its_place():
    budget = DailyBudget(24.0)
    budget.take(0.0)
    budget.pay(None)
    assert budget.take(0.0)
    assert budget.spent_usd == 0.0


def test_no_money_is_no_call():
    assert not DailyBudget(0.0).take(0.0)


def test_its_state_can_be_read():
    assert repr(DailyBudget(24.0)) == "<DailyBudget $24 a day, $1 left>"


@given(st.lists(st.tuples(st.floats(0, 4 * HOUR_S), st.floats(0.01, 0.05)), max_size=200))
def test_no_day_costs_more_than_the_budget_and_one_call_allow(events):
    """Calls one after the other: at most the hour there is at the start is spent besides."""
    budget, now_s, spent = DailyBudget(2.4), 0.0, []
    for wait_s, cost_usd in events:
        now_s += wait_s
        if budget.take(now_s):
            budget.pay(cost_usd)
            spent.append((now_s, cost_usd))
        day = sum(usd for at_s, usd in spent if at_s > now_s - DAY_S)
        assert day <= 2.4 + 0.1 + 0.05 + 1e-9
