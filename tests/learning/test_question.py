import json

import pytest

from learning.question import QuestionsUnreadable, digest_of, load_questions, messages_of

ASK = [{"role": "user", "content": "Payoff?"}]


def read(tmp_path, *rows):
    file = tmp_path / "set.jsonl"
    file.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows))
    return load_questions(file)


def test_the_expected_answer_is_the_members_or_the_last_message(tmp_path):
    questions = read(
        tmp_path,
        {"messages": ASK, "expected": {"payoff": 1.5}},
        {"messages": ASK, "expected": "1.5", "id": "q", "conversation": "c"},
        {"messages": [*ASK, {"role": "assistant", "content": "1.5", "weight": 1}]},
        {"messages": ASK},
    )
    assert [q.expected for q in questions] == ['{"payoff":1.5}', "1.5", "1.5", None]
    assert all(q.body["messages"] == ASK for q in questions)
    assert (questions[1].id, questions[1].conversation) == ("q", "c")


def test_a_request_loses_what_is_the_clients_affair(tmp_path):
    request = {"model": "m", "messages": ASK, "stream": True, "user": "u", "temperature": 0.5}
    (question,) = read(tmp_path, {"request": request, "expected": "x"})
    assert question.body == {"messages": ASK, "temperature": 0.5}


@pytest.mark.parametrize("row", ["{", "{}", '{"messages": []}', '{"request": {"model": "m"}}', "5"])
def test_a_line_that_is_no_question_is_named(tmp_path, row):
    with pytest.raises(QuestionsUnreadable, match=r"set\.jsonl:2"):
        read(tmp_path, {"messages": ASK}, row)


def test_an_empty_file_is_no_set(tmp_path):
    with pytest.raises(QuestionsUnreadable, match="no questions"):
        read(tmp_path, "")


def test_the_digest_is_of_what_is_asked_and_expected(tmp_path):
    one = read(tmp_path, {"messages": ASK, "expected": "1"})
    again = read(tmp_path, {"expected": "1", "messages": ASK})
    other = read(tmp_path, {"messages": ASK, "expected": "2"})
    assert digest_of(one) == digest_of(again) != digest_of(other)


def test_messages_that_are_no_objects_are_passed_over():
    assert list(messages_of({"messages": [1, {"role": "user"}]})) == [{"role": "user"}]
    assert list(messages_of({})) == []
