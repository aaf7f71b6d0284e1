import msgspec
import pytest

from learning.question import Question
from learning.teacher import Task, cache_key, samples_of, score, spoilt, teacher_body
from policies.schema_check import SchemaCheck
from policies.words import Check, Route
from tests.support.backends import questions

TASK = Task("o3-mini")
SAID = {"role": "assistant", "content": '{"payoff": 5}'}


def test_each_question_is_asked_as_often_as_wanted():
    asked = questions(3)
    assert [(s.question.id, s.number) for s in samples_of(asked, Task("m", samples=2))] == [
        ("q0", 0), ("q0", 1), ("q1", 0), ("q1", 1), ("q2", 0), ("q2", 1),
    ]  # fmt: skip


def test_a_share_of_them_and_the_unsure_ones_get_all_samples():
    asked = questions(400)
    task = Task("m", samples=3, samples_share=0.1)
    many = [q for q in asked if sum(1 for _ in samples_of([q], task)) == 3]
    assert 15 <= len(many) <= 75
    unsure = msgspec.structs.replace(asked[0], confidence=0.2)
    assert sum(1 for _ in samples_of([unsure], Task("m", samples=3, samples_share=0.0))) == 3


def test_the_key_names_all_that_the_answer_depends_on():
    (question,) = questions(1)
    body = teacher_body(question.body, TASK)
    keys = {
        cache_key(question, TASK, body, 0),
        cache_key(question, TASK, body, 1),
        cache_key(question, msgspec.structs.replace(TASK, model="x"), body, 0),
        cache_key(question, msgspec.structs.replace(TASK, instruction="x"), body, 0),
        cache_key(question, TASK, {**body, "temperature": 1}, 0),
        cache_key(msgspec.structs.replace(question, input_hash=b"x"), TASK, body, 0),
    }
    assert len(keys) == 6
    assert cache_key(question, TASK, body, 0) in keys


def test_the_teacher_gets_our_limit_and_instruction():
    body = {
        "messages": [{"role": "system", "content": "old"}, {"role": "user", "content": "u"}],
        "max_tokens": 5,
    }
    sent = teacher_body(body, Task("m", instruction="new", max_completion_tokens=9))
    assert sent == {
        "messages": [{"role": "system", "content": "new"}, {"role": "user", "content": "u"}],
        "max_completion_tokens": 9,
    }


@pytest.mark.parametrize(
    ("message", "finish", "fault"),
    [
        (SAID, "stop", None),
        (SAID, "length", "truncated"),
        (SAID, "content_filter", "filtered"),
        ({"refusal": "no"}, "stop", "refusal"),
        ({"content": " "}, "stop", "empty"),
    ],
)
def test_what_teaches_nothing(message, finish, fault):
    assert spoilt(message, finish) == fault


def test_an_answer_is_scored_by_what_can_be_checked():
    schema = {"type": "object", "required": ["payoff"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    body = {"messages": [{"role": "user", "content": "Payoff 5"}], "response_format": wanted}
    question = Question("q", body, route="r")
    assert score(SAID, question, {}) == 1.0
    assert score({"content": "{}"}, question, {}) == 0.0
    low = Check("low", "/payoff", SchemaCheck({"maximum": 3}))
    assert score(SAID, question, {"r": Route(name="r", candidates=(), checks=(low,))}) == 0.0
    assert score(SAID, questions(1)[0], {}) is None
