import json

import msgspec
import pytest

from learning.captured import captured
from learning.chat_row import Excluded
from learning.example import ALLOWED, REASONS, Rules, example_id, example_of
from learning.label_store import Verdict
from tests.support.chats import answer, chat
from tests.support.records import keep

VERDICT = Verdict({"role": "assistant", "content": "right"}, "teacher", 1.0, 3, "l1", "o3")


def example(tmp_path, record, rules=None, verdict=None, **options):
    keep(tmp_path, [record])
    return example_of(next(captured(tmp_path)), rules or Rules(), verdict, **options)[0]


def code(tmp_path, record, *words, **options):
    with pytest.raises(Excluded) as caught:
        example(tmp_path, record, *words, **options)
    return caught.value.code


def test_a_capture_becomes_question_and_answer(tmp_path):
    tools = [{"type": "function", "function": {"name": "f"}}]
    record = chat("Payoff?", "12", conversation="c", body={"tools": tools, "temperature": 1})
    found = example(tmp_path, record)
    assert found.messages == [{"role": "user", "content": "Payoff?"}]
    assert found.target == {"role": "assistant", "content": "12"}
    assert (found.tools, found.conversation_id) == (tools, "c")
    assert (found.label_source, found.label_model) == ("traffic", "liability-8b")
    assert found.meta["route"] == "extract"
    assert None not in found.meta.values()


def test_a_label_is_the_target_and_the_answer_it_contradicts_is_kept(tmp_path):
    found = example(tmp_path, chat("q", "wrong"), verdict=VERDICT)
    assert found.target["content"] == "right"
    assert found.rejected["content"] == "wrong"
    assert (found.label_source, found.label_id, found.label_model) == ("teacher", "l1", "o3")


def test_a_label_that_agrees_rejects_nothing(tmp_path):
    assert example(tmp_path, chat("q", " Right "), verdict=VERDICT).rejected == {}


@pytest.mark.parametrize("changes", [{"status": "error", "complete": False}, {"response": b"<"}])
def test_a_label_stands_in_for_an_answer_that_failed(tmp_path, changes):
    found = example(tmp_path, chat("q", **changes), verdict=VERDICT)
    assert (found.target["content"], found.rejected) == ("right", {})


def test_labels_may_be_left_out_of_it(tmp_path):
    found = example(tmp_path, chat("q", "said"), Rules(labels="ignore"), VERDICT)
    assert found.target["content"] == "said"


SCHEMA = {"type": "object", "required": ["a"]}
WANTED = {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{"}}

USER = {"role": "user", "content": "a"}

LEFT_OUT = [
    ("failed", chat("q", status="error", complete=False)),
    ("failed", chat("q", status="refused", complete=False)),
    ("failed", chat("q", http_status=500)),
    ("cut_stream", chat("q", status="upstream_cut", complete=False)),
    ("cut_stream", chat("q", complete=False)),
    ("cut_stream", chat("q", b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n')),
    ("client_gone", chat("q", status="client_gone", complete=False)),
    ("not_captured", chat("q", capture="metadata")),
    ("not_chat", chat("q", api="embeddings")),
    ("truncated", chat("q", answer("a", "length"))),
    ("filtered", chat("q", answer("a", "content_filter"))),
    ("refusal", chat("q", answer(None, refusal="no"))),
    ("tool_invalid", chat("q", answer(None, tool_calls=[CALL]))),
    ("tool_invalid", chat("q", answer(None, function_call={"name": "old"}))),
    ("schema_invalid", chat("q", "{}", body=WANTED)),
    ("schema_invalid", chat("q", "no json", body=WANTED)),
    ("roles_invalid", chat([USER, {"role": "assistant", "content": "b"}])),
    ("unreadable", chat("q", b"<html>")),
    ("unreadable", chat("q", answer(""))),
    ("unreadable", chat("q", request=b'{"messages": 5}')),
    ("unreadable", chat("q", request=b"\xff")),
    ("low_confidence", chat("q", confidence=0.1)),
]  # fmt: skip


@pytest.mark.parametrize(("expected", "record"), LEFT_OUT)
def test_what_is_left_out_has_a_code(tmp_path, expected, record):
    assert code(tmp_path, record, Rules(confidence_min=0.5)) == expected
    assert expected in REASONS


@pytest.mark.parametrize(
    ("expected", "record"),
    [
        (code, record)
        for code, record in LEFT_OUT
        if code in ALLOWED and record.status == "ok" and b"function_call" not in record.response
    ],
)
def test_some_codes_can_be_let_in(tmp_path, expected, record):
    assert example(tmp_path, record, Rules(allow=(expected,), confidence_min=0.5)).target


def test_what_nobody_labelled_or_somebody_disliked(tmp_path):
    assert code(tmp_path, chat("q"), Rules(labels="require")) == "unlabelled"


def test_an_answer_that_somebody_disliked(tmp_path):
    assert code(tmp_path, chat("q"), is_disliked=True) == "negative_feedback"


def test_a_disputed_label(tmp_path):
    disputed = msgspec.structs.replace(VERDICT, agreement=0.5)
    assert code(tmp_path, chat("q"), Rules(), disputed) == "label_disputed"


def test_the_thought_is_apart(tmp_path):
    found = example(tmp_path, chat("q", answer("a", reasoning_content="hm")))
    assert (found.reasoning, found.target) == ("hm", {"role": "assistant", "content": "a"})


def test_the_id_is_of_what_is_asked_and_answered(tmp_path):
    first = example(tmp_path / "a", chat("q", "a"))
    again = example(tmp_path / "b", chat("q", "a", backend="other"))
    other = example(tmp_path / "c", chat("q", "b"))
    assert example_id(first) == example_id(again) != example_id(other)


def test_choices_nobody_kept_are_counted(tmp_path):
    three = json.loads(answer("a"))
    three["choices"] += [{**three["choices"][0], "index": n} for n in (1, 2)]
    keep(tmp_path, [chat("q", json.dumps(three).encode())])
    assert example_of(next(captured(tmp_path)), Rules(), None)[1] == 2
