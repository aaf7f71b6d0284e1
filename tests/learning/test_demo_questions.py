"""What the demo asks."""

import json
from pathlib import Path

import jsonschema_rs
import pytest

from adapters.declared import load_backends
from adapters.simulated.answers import known_answer, load_answers
from learning.demo_questions import PAYMENT_SCHEMA, Question, load_questions, write_config
from pointsman.decoding import Findings
from pointsman.document import MapNode, parse


def test_asks_a_few_dozen_different_things_of_three_kinds() -> None:
    questions = load_questions()
    assert 24 <= len({question.prompt for question in questions}) == len(questions)
    assert {question.task for question in questions} == {"ask", "sums", "extract-payment"}
    for question in questions:
        if question.wants_json:
            assert jsonschema_rs.is_valid(PAYMENT_SCHEMA, question.answer)


@pytest.mark.parametrize(
    ("answer", "text", "is_right"),
    [
        ("Paris", "It is Paris.", True),
        ("Paris", "Rome", False),
        ("8", "8.", True),
        ("8", "18", False),
        ("Yes", "yes, it is", True),
        ({"amount": 980, "payee": "A"}, '{"payee": "A", "amount": 980.0}', True),
        ({"amount": 980, "payee": "A"}, '{"payee": "A", "amount": 981}', False),
        ({"amount": 980, "payee": "A"}, "980 to A", False),
    ],
)
def test_knows_a_right_answer(answer: str | dict[str, object], text: str, is_right: bool) -> None:
    assert Question("t", "p", answer).is_answered_by(text) is is_right


def test_every_question_is_answered_by_its_own_answer(tmp_path: Path) -> None:
    questions = load_questions()
    write_config(tmp_path, base_url="http://127.0.0.1:1/v1", model="m", questions=questions)
    answers = load_answers(tmp_path / "answers.jsonl")
    for question in questions:
        text = known_answer(answers, question.prompt)
        assert text is not None
        assert question.is_answered_by(text), question


def test_writes_a_config_whose_backends_load(tmp_path: Path) -> None:
    path = write_config(
        tmp_path, base_url="http://127.0.0.1:4711/v1", model="m", questions=load_questions()
    )
    root = parse(path.read_text(), str(path))
    assert isinstance(root, MapNode)
    findings = Findings()
    backends = load_backends(
        root.items["backends"], findings=findings, directory=tmp_path, environment={}
    )
    assert findings.errors == findings.warnings == []
    assert backends["local"].port == 4711
    assert backends["local"].has_logprobs
    assert json.dumps(sorted(backends)) == '["gpt-4", "local", "o3-mini"]'
