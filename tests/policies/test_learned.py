import pytest
from hypothesis import given
from hypothesis import strategies as st

import policies.learned
from policies.inquiry import Inquiry, LatencyQuestion
from policies.learned import OTHER_TASK, TASKS_MAX, Learned
from tests.support.policy_cases import BACKENDS, learned_from, observation

QUESTION = LatencyQuestion("total", 0.9, 1.0)
INQUIRY = Inquiry(QUESTION, "t", 5, None)
LOCAL = BACKENDS["local"]


def test_predicts_from_what_it_observed():
    learned = learned_from((20, observation(total_s=0.5, completion=9)))
    assert learned.predict(LOCAL, INQUIRY).latency.p50_s == pytest.approx(0.5, rel=0.05)
    assert learned.version == 20
    assert learned.name == "v20"


def test_prediction_is_kept_until_enough_was_learned():
    learned = learned_from((400, observation(total_s=0.5)))
    kept = learned.predict(LOCAL, INQUIRY)
    assert learned.predict(LOCAL, INQUIRY) is kept
    moment_s = 400.0
    learned.observe(observation(total_s=9.0), moment_s)  # the first after a second: refreshed
    refreshed = learned.predict(LOCAL, INQUIRY)
    assert refreshed is not kept
    learned.observe(observation(total_s=9.0), moment_s)
    assert learned.predict(LOCAL, INQUIRY) is refreshed
    for _ in range(64):
        learned.observe(observation(total_s=9.0), moment_s)
    assert learned.predict(LOCAL, INQUIRY) is not refreshed


def test_every_sample_counts_at_once_while_there_are_few():
    learned = Learned()
    assert learned.predict(LOCAL, INQUIRY).reason.startswith("prior")
    for _ in range(20):
        learned.observe(observation(total_s=0.5, completion=1), 0.0)
    assert learned.predict(LOCAL, INQUIRY).reason == "measured: 20 samples"


def test_one_backends_news_do_not_touch_anothers_predictions():
    learned = learned_from((20, observation("gpt-4", total_s=1.0)))
    kept = learned.predict(LOCAL, INQUIRY)
    learned.observe(observation("gpt-4", total_s=1.0), 1e6)
    assert learned.predict(LOCAL, INQUIRY) is kept


def test_predictions_kept_are_bounded(monkeypatch):
    monkeypatch.setattr(policies.learned, "PREDICTIONS_MAX", 3)
    learned = Learned()
    for limit in range(10):
        learned.predict(LOCAL, INQUIRY._replace(output_max=limit))
        assert len(learned._kept["local"].predictions) <= 3


def test_tasks_beyond_the_limit_are_one():
    learned = Learned()
    for number in range(TASKS_MAX):
        learned.observe(observation(task=f"t{number}", total_s=1.0), 0.0)
    for number in range(20):
        learned.observe(observation(task=f"late{number}", total_s=7.0), 0.0)
    late = learned.cells("local", "never seen", 5)
    assert late.task.total_s.count == 20
    assert learned.cells("local", "t7", 5).task.total_s.count == 1
    assert len(learned._tasks) == TASKS_MAX
    assert learned.cells("local", OTHER_TASK, 5).task is late.task


def test_task_not_seen_yet_has_no_cell():
    assert learned_from((1, observation())).cells("local", "new", 5).task is None


def test_backends_are_bounded(monkeypatch):
    monkeypatch.setattr(policies.learned, "BACKENDS_MAX", 1)
    learned = learned_from((1, observation("a")), (1, observation("b")))
    assert list(learned.summary()) == ["a"]
    assert learned.version == 1


FIGURE = st.one_of(st.none(), st.floats(min_value=1e-4, max_value=1e4))
COUNT = st.one_of(st.none(), st.integers(min_value=0, max_value=10**6))
OBSERVATION = st.builds(
    observation,
    backend=st.sampled_from(["local", "gpt-4"]),
    task=st.sampled_from(["t", "u", ""]),
    prompt_bytes=st.integers(min_value=0, max_value=10**7),
    prompt=COUNT,
    completion=COUNT,
    reasoning=COUNT,
    cached=COUNT,
    first_token_s=FIGURE,
    total_s=FIGURE,
    completed=st.booleans(),
)


@given(st.lists(OBSERVATION, max_size=60))
def test_what_was_written_predicts_the_same(observations):
    learned = learned_from(*[(1, observed) for observed in observations])
    read = Learned.from_bytes(learned.to_bytes(now_s=1e9))
    assert read.version == learned.version
    assert read.digest() == learned.digest()
    for facts in (LOCAL, BACKENDS["gpt-4"]):
        assert read.predict(facts, INQUIRY) == learned.predict(facts, INQUIRY)


def test_state_that_was_read_goes_on_learning():
    read = Learned.from_bytes(learned_from((19, observation(total_s=0.5))).to_bytes(20.0))
    read.observe(observation(total_s=0.5), 20.0)
    assert read.cells("local", "t", 5).task.total_s.count == 20


@pytest.mark.parametrize("data", [b"", b"\xc1", b"{}", b"\x90\x90", b"\x91\x09"])
def test_something_else_is_no_learned_state(data):
    with pytest.raises(ValueError, match="learned state"):
        Learned.from_bytes(data)


def test_summary_has_what_an_operator_asks_first():
    summary = learned_from((3, observation(total_s=0.5, completion=9))).summary()
    assert summary["local"]["samples"] == 3
    assert summary["local"]["output_tokens"] == pytest.approx(9)
    assert summary["local"]["first_token_p50_s"] is None


def test_says_what_it_is():
    assert repr(learned_from((2, observation()))) == "<Learned v2: 1 backends>"
