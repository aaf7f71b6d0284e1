"""Propensities."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.choice import Candidate, Choice
from policies.explore import chances, explore


def candidate(name: str, eligible: bool, chosen: bool) -> Candidate:
    return Candidate(
        name, eligible, None, None, None, None, None, 1.0 if chosen else 0.0, False, ""
    )


@given(
    st.lists(st.booleans(), min_size=1, max_size=6),
    st.integers(0, 5),
    st.floats(0, 1),
    st.integers(0, 2**63) | st.text(),
)
def test_propensities_sum_to_one_and_only_the_eligible_are_drawn(
    eligible: list[bool], chosen: int, share: float, seed: int | str
) -> None:
    chosen %= len(eligible)
    names = [f"b{number}" for number in range(len(eligible))]
    before = Choice(
        names[chosen], "", tuple(
            candidate(name, fits, number == chosen)
            for number, (name, fits) in enumerate(zip(names, eligible, strict=True))
        ), (),
    )  # fmt: skip
    after = explore(before, share, {}, seed=seed)
    odds = {c.backend: c.propensity for c in after.candidates}
    assert sum(odds.values()) == pytest.approx(1.0)
    assert after.chosen is not None
    assert odds[after.chosen] > 0
    if eligible[chosen]:
        assert all(odds[n] == 0 for n, fits in zip(names, eligible, strict=True) if not fits)
    else:
        assert after == before


def test_a_refused_request_explores_nothing() -> None:
    refused = Choice(None, "", (candidate("a", False, False),), ())
    assert explore(refused, 1.0, {}, seed=1) == refused


def test_draws_are_even() -> None:
    drawn = [chances(seed) for seed in range(4000)]
    assert abs(sum(first for first, _ in drawn) / 4000 - 0.5) < 0.016  # 3.5 standard errors
    assert abs(sum(second for _, second in drawn) / 4000 - 0.5) < 0.016
