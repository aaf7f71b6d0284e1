"""In virtual time: how often a route may send a request twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.hedge_budget import REQUESTS_SHARE_MAX, SECONDS, HedgeBudget


def budget_with(count, cost_usd=None, *, share=0.05, at_s=1000.0):
    budget = HedgeBudget(share)
    for _ in range(count):
        budget.request_sent(at_s, cost_usd)
    return budget


def test_the_twentieth_request_may_be_the_first():
    assert not budget_with(19).has_room(1000.0, None)
    assert budget_with(20).has_room(1000.0, None)


def test_what_was_sent_counts():
    budget = budget_with(40)
    budget.hedge_sent(1000.0, None)
    assert budget.has_room(1000.0, None)
    budget.hedge_sent(1000.5, None)
    assert not budget.has_room(1001.0, None)


def test_a_minute_later_it_is_forgotten():
    budget = budget_with(20)
    budget.hedge_sent(1000.0, None)
    for _ in range(20):
        budget.request_sent(1030.0, None)
    assert budget.has_room(1059.9, None)  # forty requests, one hedge
    assert budget.has_room(1060.0, None)  # twenty, none
    assert not budget.has_room(1090.0, None)


def test_no_more_than_five_percent_of_requests_whatever_the_money_allows():
    budget = budget_with(20, 1.0, share=1.0)
    budget.hedge_sent(1000.0, 0.001)
    assert not budget.has_room(1000.0, 0.001)


def test_a_dearer_backend_is_asked_less_often():
    budget = budget_with(100, 0.01)  # a dollar spent, five cents to add
    assert budget.has_room(1000.0, 0.05)
    assert not budget.has_room(1000.0, 0.051)
    budget.hedge_sent(1000.0, 0.03)
    assert budget.has_room(1000.0, 0.02)
    assert not budget.has_room(1000.0, 0.021)


def test_an_unknown_cost_is_one_requests_share():
    budget = budget_with(100, 0.01, share=0.02)
    budget.hedge_sent(1000.0, None)
    assert budget.has_room(1000.0, 0.01)
    assert not budget.has_room(1000.0, 0.011)
    budget.hedge_sent(1000.0, None)
    assert not budget.has_room(1000.0, None)


def test_requests_of_unknown_cost_weigh_like_the_others():
    budget = budget_with(50, 0.01)
    for _ in range(50):
        budget.request_sent(1000.0, None)
    assert budget.has_room(1000.0, 0.05)
    assert not budget.has_room(1000.0, 0.051)


@pytest.mark.parametrize(("cost_usd", "has_room"), [(0.0, True), (0.001, False), (None, True)])
def test_where_requests_cost_nothing_nothing_may_be_added(cost_usd, has_room):
    assert budget_with(100, 0.0).has_room(1000.0, cost_usd) is has_room


def test_a_share_of_nothing_allows_none():
    assert not budget_with(1000, 0.01, share=0.0).has_room(1000.0, 0.01)


EVENTS = st.lists(
    st.tuples(st.floats(0, 5), st.sampled_from(["request", "hedge"]), st.floats(0, 1) | st.none()),
    max_size=300,
)


@given(EVENTS, st.sampled_from([0.0, 0.01, 0.05, 0.5]))
def test_in_no_minute_more_than_allowed(events, share):
    budget, now_s, sent = HedgeBudget(share), 0.0, []
    for wait_s, kind, cost_usd in events:
        now_s += wait_s
        if kind == "request":
            budget.request_sent(now_s, cost_usd)
        elif budget.has_room(now_s, cost_usd):
            budget.hedge_sent(now_s, cost_usd)
        else:
            continue
        sent.append((int(now_s), kind))
        recent = [one for at, one in sent if at > int(now_s) - SECONDS]
        if kind == "hedge":
            assert recent.count("hedge") <= REQUESTS_SHARE_MAX * recent.count("request")
