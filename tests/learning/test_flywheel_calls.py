import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.flywheel_calls import as_known_answer, as_line, as_question, calls, few_shot, in_words


def test_the_same_seed_gives_the_same_calls():
    assert list(calls(20, seed=1)) == list(calls(20, seed=1))
    assert list(calls(20, seed=1)) != list(calls(20, seed=2))


def test_what_is_true_is_said_in_the_call():
    for call in calls(300):
        for amount in (call.payoff, call.escrow, call.fee):
            assert amount is None or f"${amount:,.2f}" in call.text or in_words(amount) in call.text


def test_some_things_are_not_said_and_most_calls_mislead():
    made = list(calls(500))
    assert 0.08 < sum(call.escrow is None for call in made) / 500 < 0.25
    assert 0.4 < sum(call.fee is None for call in made) / 500 < 0.8
    true = [sum(amount is not None for amount in call.answer.values()) for call in made]
    misleading = sum(c.text.count("$") > n for c, n in zip(made, true, strict=True))
    assert misleading > 250
    assert all(call.text.count("$") <= 3 for call in calls(50, noise=0.0))


def test_some_amounts_are_spelled_out():
    made = list(calls(1000))
    assert (
        30
        < sum(call.payoff is not None and in_words(call.payoff) in call.text for call in made)
        < 90
    )


def test_no_two_calls_are_the_same():
    assert len({call.text for call in calls(2000)}) == 2000


@pytest.mark.parametrize(
    ("amount", "words"),
    [(1250.10, "one thousand two hundred fifty dollars and ten cents"),
     (0.5, "zero dollars and fifty cents"), (21.01, "twenty-one dollars and one cents"),
     (480_000.99, "four hundred eighty thousand dollars and ninety-nine cents")],
)  # fmt: skip
def test_amounts_in_words(amount, words):
    assert in_words(amount) == words


@given(st.integers(0, 99_999_999))
def test_any_amount_has_words(cents):
    assert in_words(cents / 100).endswith("cents")


def test_lines_of_files():
    (call,) = calls(1)
    assert json.loads(as_line(call))["request"]["stop"] == ["\n"]
    assert json.loads(as_question(call))["expected"] == call.answer
    assert json.loads(as_known_answer(call)) == {"prompt": call.text, "answer": call.answer}


def test_the_untrained_model_is_shown_solved_calls():
    made = list(calls(10))
    template = few_shot(made)
    assert template.count("Question: ") == 4
    assert '"payoff":' in template
    assert made[0].text in template
    assert made[9].text not in template
    assert template.endswith("{% if add_generation_prompt %}Answer:{% endif %}")
