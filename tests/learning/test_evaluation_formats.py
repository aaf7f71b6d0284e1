import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from learning.chat_row import Excluded
from learning.evaluation_formats import PROMPTFOO_HEAD, called, inspect, promptfoo, yaml_item
from learning.example import Example

USER = {"role": "user", "content": "Payoff?"}
SAID = {"role": "assistant", "content": "12"}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}
CALLED = {"role": "assistant", "tool_calls": [CALL]}
REPLY = {"role": "tool", "tool_call_id": "c1", "content": "found"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}


def test_inspect_gets_calls_and_images_of_its_own_shape():
    parts = [{"type": "text", "text": "What?"}, IMAGE]
    developer = {"role": "developer", "content": "d"}
    row = inspect(Example("i", "r", [developer, {**USER, "content": parts}, CALLED, REPLY], SAID))
    system, asked, call, reply = row["input"]
    assert system == {"role": "system", "content": "d"}
    assert asked["content"][1] == {"type": "image", "image": "data:image/png;base64,AA"}
    assert call["content"] == ""
    assert call["tool_calls"] == [
        {"id": "c1", "function": "look", "arguments": {"a": 1}, "type": "function"}
    ]
    assert (reply["tool_call_id"], reply["function"]) == ("c1", "look")
    assert row["target"] == "12"


@pytest.mark.parametrize("function", [None, {"name": "f"}, {"name": "f", "arguments": "{"}])
def test_a_call_that_cannot_be_read_is_left_out(function):
    with pytest.raises(Excluded, match="tool_invalid"):
        called({"id": "c", "function": function})


def test_inspect_takes_no_sound():
    with pytest.raises(Excluded, match="images"):
        inspect(Example("i", "r", [{"role": "user", "content": [{"type": "input_audio"}]}], SAID))


def test_promptfoo_compares_json_by_value_and_other_answers_by_text():
    assert promptfoo(Example("i", "r", [USER], SAID))["assert"] == [
        {"type": "equals", "value": "12"}
    ]
    said = {"role": "assistant", "content": '{"a": 1}'}
    assert promptfoo(Example("i", "r", [USER], said))["assert"][0]["value"] == {"a": 1}


def test_braces_of_a_template_are_written_by_a_template():
    row = promptfoo(Example("i", "r", [{"role": "user", "content": "{{x}} {% y"}], SAID))
    assert "{{x" not in row["vars"]["messages"].replace("{{ '{' }}{x", "")
    assert row["vars"]["messages"].replace("{{ '{' }}", "{").count("{{x}} {% y") == 1


@given(st.text(), st.text())
def test_any_text_survives_in_yaml(asked, said):
    example = Example("i", "r", [{"role": "user", "content": asked}],
                      {"role": "assistant", "content": said})  # fmt: skip
    row = promptfoo(example)
    found = yaml.safe_load(PROMPTFOO_HEAD + yaml_item(row) + b"\n" + yaml_item(row))
    assert found["prompts"] == ["{{messages}}"]
    assert found["tests"] == [row, row]
    assert msgspec.json.decode(row["vars"]["messages"].replace("{{ '{' }}", "{"))
