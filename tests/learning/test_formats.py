import json
import os
import subprocess
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.chat_row import Excluded
from learning.example import Example
from learning.formats import FORMATS, with_reasoning

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-train" / "bin" / "python"
USER = {"role": "user", "content": "Payoff?"}
SYSTEM = {"role": "system", "content": "You read calls."}
SAID = {"role": "assistant", "content": "12 €"}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}
CALLED = {"role": "assistant", "tool_calls": [CALL]}
REPLY = {"role": "tool", "tool_call_id": "c1", "content": "found"}
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
IMAGE = {"role": "user", "content": [
    {"type": "text", "text": "What?"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
]}  # fmt: skip

SHAPES = {
    "plain": Example("i", "r", [SYSTEM, USER], SAID),
    "multi-turn": Example("i", "r", [USER, SAID, USER], SAID),
    "tools": Example("i", "r", [USER, CALLED, REPLY], SAID, tools=TOOLS),
    "tool call": Example("i", "r", [USER], CALLED, tools=TOOLS, parallel_tool_calls=False),
    "schema": Example("i", "r", [USER], SAID, response_format={"type": "json_object"}),
    "pair": Example("i", "r", [USER], SAID, rejected={"role": "assistant", "content": "13"}),
    "reasoning": Example("i", "r", [USER], SAID, reasoning="hm"),
    "images": Example("i", "r", [IMAGE], SAID),
}
PAIRS = ("openai-dpo", "trl-dpo")
TEXT_ONLY = (
    "fireworks", "llamafactory", "axolotl", "trl-prompt-completion", "trl-dpo", "trl-kto",
)  # fmt: skip


def made(name, shape):
    row = FORMATS[name].make(SHAPES[shape])
    return row[0] if isinstance(row, list) else row


def check_no_empty(value):
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        assert inner is not None, key
        if isinstance(inner, dict | list) and key not in ("parameters", "arguments"):
            assert inner, key
            check_no_empty(inner)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FORMATS)
def test_every_shape_is_a_row_or_is_left_out_by_a_code(name, shape):
    if name in TEXT_ONLY and shape == "images":
        expected = "images"
    elif name in PAIRS and shape != "pair":
        expected = "no_rejected"
    else:
        check_no_empty(made(name, shape))
        assert msgspec.json.encode(made(name, shape))
        return
    with pytest.raises(Excluded) as caught:
        made(name, shape)
    assert caught.value.code == expected


def test_thoughts_are_dropped_or_said_or_apart():
    example = SHAPES["reasoning"]
    assert with_reasoning(example, "drop").target == SAID
    assert with_reasoning(example, "think").target["content"] == "<think>\nhm\n</think>\n\n12 €"
    assert with_reasoning(example, "field").target == {**SAID, "reasoning_content": "hm"}
    assert with_reasoning(SHAPES["plain"], "think").target == SAID
    assert example.target == SAID


def test_openai_chat_trains_the_last_turn_alone():
    row = made("openai-chat", "multi-turn")
    assert [m.get("weight") for m in row["messages"]] == [None, 0, None, 1]
    row = made("openai-chat", "tool call")
    assert set(row) == {"messages", "tools", "parallel_tool_calls"}
    assert row["messages"][-1]["tool_calls"][0]["function"]["arguments"] == '{"a": 1}'


def test_trl_gets_arguments_as_objects():
    row = made("trl-prompt-completion", "tools")
    assert row["prompt"][1]["tool_calls"][0]["function"]["arguments"] == {"a": 1}
    assert row["completion"] == [SAID]
    assert row["tools"] == TOOLS


def test_preference_files_prefer_the_right_answer():
    row = made("openai-dpo", "pair")
    assert row["preferred_output"] == [SAID]
    assert row["non_preferred_output"][0]["content"] == "13"
    assert made("trl-dpo", "pair")["rejected"][0]["content"] == "13"


def test_a_batch_asks_and_does_not_tell():
    row = made("openai-batch", "schema")
    assert (row["custom_id"], row["url"]) == ("r", "/v1/chat/completions")
    assert row["body"]["messages"] == [USER]
    assert row["body"]["response_format"] == {"type": "json_object"}


def test_axolotl_says_what_is_trained_on():
    row = made("axolotl", "multi-turn")
    assert [m.get("train") for m in row["messages"]] == [None, False, None, True]


@pytest.mark.parametrize("shape", ["plain", "multi-turn", "tools", "tool call"])
def test_llamafactory_alternates(shape):
    row = made("llamafactory", shape)
    for place, turn in enumerate(row["conversations"]):
        expected = ("human", "observation") if place % 2 == 0 else ("gpt", "function_call")
        assert turn["from"] in expected
    assert len(row["conversations"]) % 2 == 0


def test_llamafactory_refuses_what_does_not_alternate():
    for messages in ([USER, REPLY], [USER, SAID, SYSTEM], [USER, SAID]):
        with pytest.raises(Excluded, match="roles_invalid"):
            FORMATS["llamafactory"].make(Example("i", "r", messages, SAID))


def test_together_wants_the_user_first_and_images_as_data():
    for messages in ([CALLED, REPLY], [USER, SYSTEM], [SYSTEM]):
        with pytest.raises(Excluded, match="roles_invalid"):
            FORMATS["together"].make(Example("i", "r", messages, SAID))
    web = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    for messages in ([{"role": "user", "content": [web]}], [IMAGE, USER]):
        with pytest.raises(Excluded, match="images"):
            FORMATS["together"].make(Example("i", "r", messages, SAID))
    assert "weight" not in made("together", "images")["messages"][-1]


def test_kto_says_of_each_answer_whether_it_is_right():
    rows = FORMATS["trl-kto"].make(SHAPES["pair"])
    assert [(row["completion"][0]["content"], row["label"]) for row in rows] == [
        ("12 €", True),
        ("13", False),
    ]
    assert [row["label"] for row in FORMATS["trl-kto"].make(SHAPES["plain"])] == [True]


def test_llamafactory_says_a_text_or_a_call():
    both = {**CALLED, "content": "I look it up."}
    with pytest.raises(Excluded, match="text_beside_call"):
        FORMATS["llamafactory"].make(Example("i", "r", [USER], both, tools=TOOLS))


@pytest.mark.parametrize("name", TEXT_ONLY)
def test_text_in_parts_is_one_text_for_trainers_on_text(name):
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    asked = {"role": "user", "content": parts}
    row = FORMATS[name].make(Example("i", "r", [asked], SAID, rejected={**SAID, "content": "no"}))
    assert "one\\ntwo" in msgspec.json.encode(row).decode()


def test_axolotl_and_llamafactory_get_tools_as_text():
    for name in ("axolotl", "llamafactory"):
        assert "look" in json.loads(made(name, "tools")["tools"])[0].get("name", "look")


def test_what_lies_beside_names_only_columns_that_are_there():
    _, make = FORMATS["llamafactory"].sidecar
    told = json.loads(make("f.jsonl", "d", frozenset(["conversations", "tools"])))
    assert told["d"]["columns"] == {"messages": "conversations", "tools": "tools"}
    _, make = FORMATS["trl-kto"].sidecar
    told = json.loads(make("f.jsonl", "d", frozenset(["prompt", "label"])))
    assert told["label"] == {"_type": "Value", "dtype": "bool"}
    assert told["prompt"] == {"_type": "List", "feature": {"_type": "Json"}}


def test_inspect_asks_and_holds_the_answer_against_it():
    row = made("inspect", "tool call")
    assert row["input"] == [USER]
    assert row["target"] == '[{"arguments":{"a":"#1"},"name":"look"}]'
    assert row["metadata"]["split"] == "train"


messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", "tool"]), "content": st.text()}
    ),
    max_size=5,
)


@given(messages, st.text(), st.sampled_from(sorted(FORMATS)))
def test_any_chat_is_a_row_or_is_left_out(turns, said, name):
    example = Example("i", "r", turns, {"role": "assistant", "content": said})
    try:
        row = FORMATS[name].make(example)
    except Excluded:
        return
    rows = row if isinstance(row, list) else [row]
    for one in rows:
        assert msgspec.json.decode(msgspec.json.encode(one)) == one


@pytest.mark.slow
def test_trl_trains_a_step_on_its_files(tmp_path):
    if not PYTHON.is_file():
        pytest.skip("no .venv-train; make train-env")
    for name in ("trl-prompt-completion", "trl-dpo", "trl-kto"):
        rows = []
        for number in range(8):
            said = {"role": "assistant", "content": f"w{number}"}
            asked = [{"role": "user", "content": f"w{number + 1} w2"}]
            other = {"role": "assistant", "content": "w9"}
            made = FORMATS[name].make(Example("i", "r", asked, said, rejected=other))
            rows += made if isinstance(made, list) else [made]
        suffix, make = FORMATS[name].sidecar
        (tmp_path / f"{name}{suffix}").write_bytes(make(name, "d", frozenset(rows[0])))
        (tmp_path / name).write_bytes(b"\n".join(map(msgspec.json.encode, rows)))
    done = subprocess.run(
        [PYTHON, Path(__file__).with_name("trl_reading.py"), tmp_path],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "trl-prompt-completion 8 rows" in done.stdout
    assert "trl-dpo 8 rows" in done.stdout
    assert "trl-kto 16 rows" in done.stdout
