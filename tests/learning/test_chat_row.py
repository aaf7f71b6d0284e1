import pytest

from learning.assemble import Assembled
from learning.chat_row import (
    TARGET_KEYS,
    Excluded,
    check_calls,
    check_roles,
    context_messages,
    fine_tuning_row,
)

USER = {"role": "user", "content": "u"}
TOOL = {"type": "function", "function": {"name": "look"}}


def said(content="a", finish="stop", **message):
    return Assembled({"role": "assistant", "content": content, **message}, finish, 1, True)


def called(identifier="c1", arguments="{}"):
    call = {
        "id": identifier,
        "type": "function",
        "function": {"name": "look", "arguments": arguments},
    }
    return Assembled({"role": "assistant", "tool_calls": [call]}, "tool_calls", 1, True)


def row(*messages, answer=None, **request):
    said_last = (answer or said()).message
    target = {key: said_last[key] for key in TARGET_KEYS if key in said_last}
    context = context_messages({"messages": list(messages), **request})
    check_roles([*context, target])
    check_calls([*context, target])
    return fine_tuning_row(context, target, request)


def code(*messages, answer=None):
    with pytest.raises(Excluded) as caught:
        row(*messages, answer=answer)
    return caught.value.code


def test_the_answer_is_trained_on_and_comes_last():
    assert row(USER) == {
        "messages": [USER, {"role": "assistant", "content": "a", "weight": 1}],
    }


def test_earlier_turns_of_the_assistant_are_context():
    earlier = {"role": "assistant", "content": "before", "weight": 1, "name": None}
    assert row(USER, earlier, USER)["messages"][1] == {
        "role": "assistant",
        "content": "before",
        "weight": 0,
    }


def test_tools_are_kept_and_nothing_else_of_the_request():
    found = row(USER, tools=[TOOL], parallel_tool_calls=False, temperature=1, response_format={})
    assert set(found) == {"messages", "tools", "parallel_tool_calls"}
    assert set(row(USER, tools=[], parallel_tool_calls=None)) == {"messages"}


def test_no_key_is_null_or_empty():
    message = {"role": "user", "content": "u", "name": None, "tool_calls": []}
    assert row(message)["messages"][0] == USER


def test_a_conversation_with_tools_is_whole():
    call = dict(called("c0").message)
    reply = {"role": "tool", "tool_call_id": "c0", "content": "r"}
    found = row(USER, call, reply, answer=called("c1"))
    assert [message["role"] for message in found["messages"]] == [
        "user", "assistant", "tool", "assistant",
    ]  # fmt: skip


def test_thinking_is_left_out_of_the_target():
    answer = said(reasoning_content="hmm")
    assert row(USER, answer=answer)["messages"][-1] == {
        "role": "assistant",
        "content": "a",
        "weight": 1,
    }


def test_neighbours_of_one_role_are_merged_where_both_are_plain():
    assert row(USER, USER)["messages"][0] == {"role": "user", "content": "u\n\nu"}
    parts = {"role": "user", "content": [{"type": "text", "text": "u"}]}
    assert code(USER, parts) == "roles_invalid"
    assert code(USER, {**USER, "name": "n"}) == "roles_invalid"
    assert code(USER, {"role": "assistant", "content": "x"}) == "roles_invalid"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (called(arguments="{"), "tool_invalid"),
        (called(arguments={}), "tool_invalid"),
        (called(identifier=None), "tool_invalid"),
    ],
)
def test_answers_that_would_teach_something_wrong_are_left_out(answer, expected):
    assert code(USER, answer=answer) == expected


def test_tool_replies_must_follow_their_call_and_calls_have_their_own_ids():
    reply = {"role": "tool", "tool_call_id": "c9", "content": "r"}
    assert code(USER, reply) == "tool_invalid"
    call = dict(called("c0").message)
    answered = {"role": "tool", "tool_call_id": "c0", "content": "r"}
    assert code(USER, call, answered, answer=called("c0")) == "tool_invalid"


def test_calls_are_answered_before_anybody_else_speaks():
    call = dict(called("c0").message)
    answered = {"role": "tool", "tool_call_id": "c0", "content": "r"}
    assert code(USER, call, USER) == "tool_invalid"
    assert code(USER, call, answered, answered) == "tool_invalid"


def test_an_earlier_turn_that_said_nothing_keeps_its_empty_text():
    empty = {"role": "assistant", "content": None}
    assert row(USER, empty, USER)["messages"][1] == {
        "role": "assistant", "content": "", "weight": 0,
    }  # fmt: skip


@pytest.mark.parametrize("messages", [None, [], [1], [{"role": "robot"}], "text"])
def test_a_prompt_that_is_none_is_unreadable(messages):
    with pytest.raises(Excluded, match="unreadable"):
        context_messages({"messages": messages})
