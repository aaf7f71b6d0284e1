"""What may be added to a failing backend's load, in virtual time."""

import pytest

from adapters.retry_budget import RetryBudget


def spend(budget: RetryBudget, now_s: float) -> int:
    """Retries until there is no more room."""
    count = 0
    while budget.has_room(now_s):
        budget.retry_sent(now_s)
        count += 1
    return count


def test_a_quiet_service_may_retry_too() -> None:
    assert spend(RetryBudget(), 100.0) == 10


def test_a_fifth_of_the_requests_and_ten_a_second() -> None:
    budget = RetryBudget()
    for _ in range(500):
        budget.request_sent(100.0)
    assert spend(budget, 100.0) == 110


def test_what_was_put_aside_expires_after_ten_seconds() -> None:
    budget = RetryBudget()
    for _ in range(500):
        budget.request_sent(100.0)
    assert spend(budget, 110.0) == 10


def test_the_workers_share_the_floor() -> None:
    assert spend(RetryBudget(workers=2), 100.0) == 5
    assert spend(RetryBudget(workers=64), 100.0) == 1


def test_what_failed_unexpectedly_is_paid_for_later() -> None:
    budget = RetryBudget()
    for _ in range(100):
        budget.request_sent(100.0)
    for _ in range(60):
        budget.retry_sent(100.0)
    assert not budget.has_room(100.0)
    for _ in range(160):
        budget.request_sent(100.5)
    assert spend(budget, 100.5) == 52 - 50 + 4


@pytest.mark.parametrize("rate", [1, 10, 100, 1000])
@pytest.mark.parametrize("workers", [1, 2, 10])
def test_everything_failing_costs_a_fifth_and_ten_a_second(rate: int, workers: int) -> None:
    budgets = [RetryBudget(workers=workers) for _ in range(workers)]
    requests = retries = 0
    for second in range(60):
        for index in range(rate):
            now_s = 1000.0 + second + index / rate
            budget = budgets[index % workers]
            budget.request_sent(now_s)
            requests += 1
            for _ in range(2):
                if budget.has_room(now_s):
                    budget.retry_sent(now_s)
                    retries += 1
        if second >= 9:
            assert retries <= 0.2 * requests + 10 * (second + 1)
    assert retries >= 0.15 * requests
    assert "requests=" in repr(budgets[0])
