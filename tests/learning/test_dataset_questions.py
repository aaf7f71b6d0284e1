from learning.dataset import build
from learning.dataset_questions import dataset_questions
from learning.dataset_spec import DatasetSpec, SplitRule
from tests.support.chats import chat
from tests.support.records import keep

TOOLS = [{"type": "function", "function": {"name": "f"}}]


def test_a_question_has_what_was_asked_for_and_the_answer(tmp_path):
    keep(tmp_path, [chat("q", "7", body={"tools": TOOLS, "response_format": {"type": "text"}})])
    build(tmp_path, "d", DatasetSpec(split=SplitRule(test=1.0)))
    (question,) = dataset_questions(tmp_path, "d", split="test")
    assert question.body == {
        "messages": [{"role": "user", "content": "q"}],
        "tools": TOOLS,
        "response_format": {"type": "text"},
    }
    assert question.expected == "7"
    assert dataset_questions(tmp_path, "d", split="train") == []
