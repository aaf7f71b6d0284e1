import json
import subprocess
from pathlib import Path

import pytest

from learning.dataset import build
from learning.dataset_spec import DatasetName, DatasetSpec
from learning.models import ModelError
from learning.pruned_template import REFUSAL, pruned_prefix, without_prefix
from learning.train import BASE_TEMPLATE
from tests.support.chats import chat, prose
from tests.support.records import keep

PYTHON = Path(__file__).resolve().parents[2] / ".venv-train" / "bin" / "python"
SYSTEM = {"role": "system", "content": 'Answer "shortly",\nin JSON. {{ no }} {% template %} é'}
DATASET = DatasetName("d", 1)
RENDER = """
import json, sys
from transformers.utils.chat_template_utils import render_jinja_template
template, *conversations = json.load(sys.stdin)
for messages in conversations:
    try:
        said, _ = render_jinja_template([messages], chat_template=template,
                                        add_generation_prompt=True)
        print(json.dumps(said[0]))
    except Exception as error:
        print(json.dumps(["refused", str(error)]))
"""


def built(directory, *openings, spec=DatasetSpec(prune_prefix=True)):  # noqa: B008 - frozen
    records = [
        chat([*opening, {"role": "user", "content": f"Read {prose((n, number), 9)}"}], f"{n}")
        for number, opening in enumerate(openings)
        for n in range(40)
    ]
    keep(directory, records)
    build(directory, "d", spec)


def test_what_was_cut_is_found_again(tmp_path):
    built(tmp_path, [SYSTEM])
    rule = pruned_prefix(tmp_path, DATASET)
    assert rule is not None
    assert list(rule.messages) == [SYSTEM]


def test_nothing_was_cut(tmp_path):
    built(tmp_path, [SYSTEM], spec=DatasetSpec())
    assert pruned_prefix(tmp_path, DATASET) is None


def test_a_part_of_a_message_cannot_be_left_out(tmp_path):
    text = prose("long", 80)
    records = [chat(f"{text} Read {prose(n, 9)}", f"{n}") for n in range(40)]
    keep(tmp_path, records)
    build(tmp_path, "d", DatasetSpec(prune_prefix=True))
    with pytest.raises(ModelError, match="a part of a message; build the data set without"):
        pruned_prefix(tmp_path, DATASET)


def test_parts_of_a_picture_are_no_text():
    with pytest.raises(ModelError, match="is not text"):
        without_prefix("", [{"role": "system", "content": [{"type": "text", "text": "x"}]}])


def test_the_template_leaves_out_the_beginning_and_no_other_one():
    if not PYTHON.is_file():
        pytest.skip("make train-env has not been run")
    template = without_prefix(BASE_TEMPLATE, [SYSTEM])
    user = {"role": "user", "content": "Payoff?"}
    other = {"role": "system", "content": "Be brief."}
    conversations = [[SYSTEM, user], [user], [other, user], [SYSTEM]]
    done = subprocess.run(
        [PYTHON, "-c", RENDER],
        input=json.dumps([template, *conversations]),
        capture_output=True,
        text=True,
        check=True,
    )
    live, trained, stranger, bare = map(json.loads, done.stdout.splitlines())
    assert live == trained == "Question: Payoff?\nAnswer:"
    assert stranger[0] == bare[0] == "refused"
    assert REFUSAL in stranger[1]
