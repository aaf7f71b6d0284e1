from hypothesis import given
from hypothesis import strategies as st

from learning.constant_prefix import NOTHING, PrefixRule, find_prefix, find_prefixes

SYSTEM = {"role": "system", "content": "You read calls."}
LONG = "Extract the payoff amount from this call, " * 8


def user(text):
    return {"role": "user", "content": text}


def test_whole_leading_messages_come_first():
    rule = find_prefix([[SYSTEM, user(f"call {n}")] for n in range(50)])
    assert rule == PrefixRule((SYSTEM,))
    assert rule.strip([SYSTEM, user("x")]) == [user("x")]


def test_then_a_span_of_text_up_to_a_word():
    rule = find_prefix([[SYSTEM, user(f"{LONG}call-{n}")] for n in range(50)])
    assert (rule.messages, rule.text) == ((SYSTEM,), LONG)
    assert rule.strip([SYSTEM, user(f"{LONG}call-7")]) == [user("call-7")]


def test_a_few_rows_that_begin_otherwise_do_not_matter():
    rows = [[SYSTEM, user(f"{LONG}{n}")] for n in range(199)]
    rule = find_prefix([*rows, [user("a stray one")]])
    assert rule.messages == (SYSTEM,)
    assert rule.text == LONG
    assert find_prefix([*rows[:90], *([[user("x")]] * 10)]) == NOTHING


def test_what_begins_otherwise_is_not_stripped():
    rule = PrefixRule((SYSTEM,), LONG)
    for messages in ([], [SYSTEM], [user("x")], [SYSTEM, user("x")],
                     [SYSTEM, {"role": "user", "content": [LONG]}]):  # fmt: skip
        assert rule.strip(messages) is None


def test_a_turn_of_phrase_and_a_small_sample_are_no_rule():
    assert find_prefix([[user(f"Please {n}")] for n in range(50)]) == NOTHING
    assert find_prefix([[SYSTEM, user(LONG)]] * 5) == NOTHING


def test_the_question_itself_is_never_all_constant():
    assert find_prefix([[SYSTEM]] * 50).messages == ()


def test_a_rule_has_a_name_of_its_content():
    assert PrefixRule((SYSTEM,)).id == PrefixRule((dict(reversed(SYSTEM.items())),)).id
    assert PrefixRule((SYSTEM,)).id != PrefixRule((SYSTEM,), "x").id


def test_routes_without_a_rule_are_left_out():
    found = find_prefixes({"a": [[SYSTEM, user(str(n))] for n in range(50)], "b": []})
    assert list(found) == ["a"]


@given(st.lists(st.lists(st.text(max_size=4), min_size=1, max_size=3), min_size=20, max_size=40))
def test_stripping_only_ever_removes_the_front(rows):
    messages = [[user(text) for text in row] for row in rows]
    rule = find_prefix(messages)
    for row in messages:
        rest = rule.strip(row)
        assert rest is None or list(rule.messages) + rest == row
