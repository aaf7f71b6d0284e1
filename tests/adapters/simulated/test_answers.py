"""Known answers and plausible mistakes."""

import hashlib
import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.simulated.answers import (
    AnswersUnreadable,
    known_answer,
    load_answers,
    prompt_sha256,
    wrong_answer,
)


def written(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "answers.jsonl"
    path.write_text("\n".join(lines))
    return path


def test_reads_prompts_hashes_and_structured_answers(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"second").hexdigest().upper()
    path = written(
        tmp_path,
        '{"prompt": "first", "answer": "1", "source": "ignored"}',
        "",
        f'{{"prompt_sha256": "{digest}", "answer": {{"amount": 2.5}}}}',
    )
    answers = load_answers(path)
    assert known_answer(answers, "first") == "1"
    assert known_answer(answers, "  second\n") == '{"amount":2.5}'
    assert known_answer(answers, "third") is None


def test_an_empty_answer_is_an_answer(tmp_path: Path) -> None:
    answers = load_answers(written(tmp_path, '{"prompt": "q", "answer": ""}'))
    assert known_answer(answers, "q") == ""


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"answer": 1}', '{"prompt": "a", "prompt_sha256": "b", "answer": 1}',
             '{"prompt": "a"}']
)  # fmt: skip
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = written(tmp_path, '{"prompt": "a", "answer": 1}', line)
    with pytest.raises(AnswersUnreadable, match=r"answers\.jsonl:2: "):
        load_answers(path)


@given(st.text(), st.integers())
def test_a_wrong_answer_is_never_the_right_one(right: str, seed: int) -> None:
    assert wrong_answer(right, random.Random(seed)) != right


@pytest.mark.parametrize(
    ("right", "pattern_kept"),
    [("1,250.10", ",."), ("The sum is 42.", "The sum is ."), ("#### 72", "#### ")],
)
def test_a_wrong_number_keeps_its_form(right: str, pattern_kept: str) -> None:
    for seed in range(200):
        wrong = wrong_answer(right, random.Random(seed))
        assert "".join(c for c in wrong if not c.isdigit()) == pattern_kept
        assert len(wrong) == len(right)
        assert not wrong.startswith("0")


def test_letters_and_words_are_changed_alike() -> None:
    draw = random.Random(1)
    assert wrong_answer("B", draw) in ("A", "C", "D")
    assert wrong_answer("(C)", draw) in ("(A)", "(B)", "(D)")
    assert wrong_answer("Yes", draw) == "No"
    assert wrong_answer("false", draw) == "true"


def test_a_wrong_object_keeps_its_members_and_types() -> None:
    right = '{"merchant":"Acme","amount":12.5,"lines":[{"qty":3}]}'
    for seed in range(20):
        wrong = json.loads(wrong_answer(right, random.Random(seed)))
        assert list(wrong) == ["merchant", "amount", "lines"]
        assert isinstance(wrong["amount"], float)
        assert wrong != json.loads(right)


def test_the_key_ignores_outer_white_space() -> None:
    assert prompt_sha256(" q\n") == prompt_sha256("q") == hashlib.sha256(b"q").hexdigest()
