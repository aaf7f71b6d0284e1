"""What is learned of a finished request."""

import pytest

from pointsman.tokens import Usage
from policies.features import parse_chat, read_features
from proxy.observing import observations, prompt_bytes_of
from tests.support.answered import BODY, attempt, record


def test_each_attempt_that_answered_is_learned_from() -> None:
    seen = list(observations(record(attempt(), attempt(backend="gpt-4", won=False))))
    assert [(o.backend, o.task, o.total_s, o.completed) for o in seen] == [
        ("local", "extract", 0.15, True),
        ("gpt-4", "extract", 0.15, True),
    ]


def test_the_first_token_is_known_of_streams_only() -> None:
    assert next(observations(record(attempt()))).first_token_s is None
    assert next(observations(record(attempt(), is_stream=True))).first_token_s == 0.04


def test_what_a_judge_said_is_no_answer_to_the_task() -> None:
    asked = record(attempt(), attempt(kind="agreement", backend="b"), attempt(kind="judge"))
    assert [seen.backend for seen in observations(asked)] == ["local", "b"]


@pytest.mark.parametrize("failure", ["reset", "status", "cut", "client_gone"])
def test_a_failure_teaches_nothing_about_speed(failure: str) -> None:
    assert list(observations(record(attempt(error_type=failure)))) == []


def test_a_time_limit_counts_as_that_slow_but_not_as_an_answer() -> None:
    (seen,) = observations(record(attempt(error_type="timeout", total_us=2_000_000)))
    assert (seen.total_s, seen.completed, seen.usage) == (2.0, False, Usage())


@pytest.mark.parametrize(
    ("is_stream", "first_byte_us", "first_s", "total_s"),
    [(False, None, None, 2.0), (True, None, 2.0, None), (True, 500_000, 0.5, 2.0)],
)
def test_an_attempt_that_was_overtaken_took_at_least_so_long(
    is_stream: bool, first_byte_us: int | None, first_s: float | None, total_s: float | None
) -> None:
    lost = attempt(error_type="hedge_lost", first_byte_us=first_byte_us, total_us=2_000_000)
    (seen,) = observations(record(lost, is_stream=is_stream))
    assert (seen.first_token_s, seen.total_s, seen.completed) == (first_s, total_s, False)


def test_a_second_attempt_that_lost_says_nothing() -> None:
    assert list(observations(record(attempt(kind="hedge", error_type="hedge_lost")))) == []


def test_measures_the_prompt_as_the_decision_did() -> None:
    features = read_features(
        parse_chat(BODY),
        body_bytes=len(BODY),
        label_headers={},
        conversation_header=None,
        caller=None,
    )
    assert prompt_bytes_of(record()) == features.prompt_bytes


def test_a_body_that_was_not_kept_or_not_readable_has_only_its_length() -> None:
    assert prompt_bytes_of(record(request=None)) == 0
    assert prompt_bytes_of(record(request=b"not json")) == 8


@pytest.mark.parametrize(
    ("api", "decided", "count"),
    [
        ("chat", None, 1),
        ("completions", "local", 1),
        ("embeddings", "local", 1),
        ("messages", "local", 1),
        ("responses", "local", 1),
        ("responses", None, 0),  # fetched by its id
        ("passthrough", None, 0),
        ("count_tokens", "local", 0),
        ("unknown", None, 0),
    ],
)
def test_only_answers_of_models_that_were_chosen_teach(
    api: str, decided: str | None, count: int
) -> None:
    assert len(list(observations(record(attempt(), api=api, decided=decided)))) == count


def test_measures_the_prompt_of_any_api_as_its_decision_did() -> None:
    body = b'{"model":"m","input":"hello","instructions":"be brief"}'
    assert prompt_bytes_of(record(api="responses", request=body)) == len('"hello""be brief"')
    assert prompt_bytes_of(record(api="responses", request=b"no")) == 2
    assert prompt_bytes_of(record(api="completions", request=b'{"model":"m","prompt":"x"}')) == 3
    assert prompt_bytes_of(record(api="passthrough", request=b"12345")) == 5
