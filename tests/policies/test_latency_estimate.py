import pytest

from policies.facts import Expect
from policies.inquiry import SAMPLES_MIN, Cells, Inquiry, LatencyQuestion
from policies.latency_estimate import UNKNOWN, Points, estimate_latency, expected_total_s
from policies.token_estimate import TokenEstimate
from tests.support.policy_cases import learned_from, observation

FAST = Expect(first_token_s=0.04, tokens_per_second=100)
EIGHT = TokenEstimate(8, 8, True, False, 0.25, 0.0)
ASSUMED = TokenEstimate(256, 8, False, True, 0.25, 0.0)


def latency_of(
    *seen, expect=None, tokens=EIGHT, of="total", budget_s=0.2, task="t", output_max=None, size=5
):
    cells = learned_from(*seen).cells("local", task, size) if seen else Cells()
    inquiry = Inquiry(LatencyQuestion(of, 0.9, budget_s), task, size, output_max)
    return estimate_latency(expect, inquiry, cells, tokens)


def test_unknown_without_samples_and_figures():
    assert latency_of() == UNKNOWN
    assert latency_of(expect=Expect(first_token_s=1)) == UNKNOWN
    assert latency_of(expect=Expect(tokens_per_second=90), of="first_token") == UNKNOWN


def test_expected_total_keeps_the_first_token_apart():
    assert expected_total_s(FAST, 8) == pytest.approx(0.04 + 7 / 100)
    assert expected_total_s(FAST, 0) == pytest.approx(0.04)
    assert expected_total_s(Expect(first_token_s=1, tokens_per_second=0), 5) is None


def test_expectation_stands_in_and_counts_like_a_measurement():
    found = latency_of(expect=FAST)
    assert found.is_prior
    assert found.p50_s == found.p95_s == pytest.approx(0.11)
    assert found.p_within == 1
    assert latency_of(expect=FAST, budget_s=0.1).p_within == 0
    assert latency_of(expect=FAST, budget_s=None).p_within is None


def test_first_token_is_expected_as_stated():
    assert latency_of(expect=FAST, of="first_token").p50_s == 0.04


def test_assumed_length_leaves_open_what_a_short_answer_would_meet():
    assert latency_of(expect=FAST, tokens=ASSUMED).p_within is None
    assert latency_of(expect=FAST, tokens=ASSUMED, budget_s=3.0).p_within == 1
    assert latency_of(expect=FAST, tokens=ASSUMED, budget_s=0.05).p_within == 0


def test_whole_times_of_the_same_task_are_used_as_they_are():
    found = latency_of((SAMPLES_MIN, observation(total_s=0.15)), expect=FAST)
    assert not found.is_prior
    assert found.p50_s == pytest.approx(0.15, rel=0.05)
    assert found.p_within == 1


def test_nineteen_samples_are_not_twenty():
    assert latency_of((SAMPLES_MIN - 1, observation(total_s=0.15)), expect=FAST).is_prior


def test_share_within_is_of_what_was_seen():
    quick, slow = observation(total_s=0.1), observation(total_s=1.0)
    found = latency_of(*[(1, quick), (1, quick), (1, quick), (1, slow)] * 10)
    assert found.p_within == pytest.approx(0.75, abs=0.03)


def stream(**figures):
    return observation(task="other", completion=11, first_token_s=0.1, total_s=1.1, **figures)


def test_other_tasks_times_are_put_together_with_the_tokens_of_this_one():
    short = observation(backend="local", completion=3, total_s=None)
    found = latency_of((50, stream()), (SAMPLES_MIN, short))
    assert found.p50_s == pytest.approx(0.1 + 2 * 0.1, rel=0.08)


def test_token_limit_shortens_a_composed_time():
    found = latency_of((50, stream()), output_max=2)
    assert found.p50_s == pytest.approx(0.2, rel=0.08)


def test_other_tasks_whole_times_serve_where_nothing_was_streamed():
    found = latency_of((SAMPLES_MIN, observation(task="other", total_s=3.0)))
    assert found.p50_s == pytest.approx(3, rel=0.05)


def test_prompts_of_the_same_size_tell_more_than_all_prompts():
    small = observation(task="a", prompt_bytes=600, total_s=0.1)
    large = observation(task="b", prompt_bytes=100_000, total_s=9.0)
    seen = ((SAMPLES_MIN, small), (100, large))
    assert latency_of(*seen, task="c", size=5).p50_s == pytest.approx(0.1, rel=0.05)
    assert latency_of(*seen, task="c", size=8).p50_s == pytest.approx(9, rel=0.05)


def test_first_token_is_learned_from_streams():
    found = latency_of((SAMPLES_MIN, stream()), of="first_token")
    assert found.p50_s == pytest.approx(0.1, rel=0.05)
    assert latency_of((SAMPLES_MIN, observation(total_s=1.0)), of="first_token") == UNKNOWN


def test_long_answers_do_not_make_the_first_token_look_slow():
    long = observation(completion=1001, first_token_s=0.1, total_s=10.1)
    assert latency_of((SAMPLES_MIN, long), of="first_token").p95_s < 0.11


def test_points_are_their_own_quantiles():
    points = Points([3.0, 1.0, 2.0, 4.0])
    assert [points.quantile(q) for q in (0.0, 0.25, 0.5, 0.99)] == [1, 2, 3, 4]
    assert [points.share_within(limit) for limit in (0.5, 2.0, 9.0)] == [0, 0.5, 1]
