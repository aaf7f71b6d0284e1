"""Chats of every shape through each format into what really reads it (others: conformance)."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing

import datasets
import pandas
import pydantic
import pytest
import yaml
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

from learning.dataset import build
from learning.dataset_spec import DatasetName, DatasetSpec, SplitRule
from learning.dataset_store import read_examples
from learning.export import FORMAT_NAMES, export_dataset
from tests.support.records import keep
from tests.support.shapes import CALL, shapes

NAME = DatasetName("d", 1)
LEFT_OUT = {
    "openai-dpo": {"no_rejected": 8}, "trl-dpo": {"no_rejected": 7, "images": 1},
    "trl-prompt-completion": {"images": 1}, "trl-kto": {"images": 1}, "axolotl": {"images": 1},
    "llamafactory": {"images": 1}, "fireworks": {"images": 1},
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A data set of one chat of each shape, and every export of it."""
    directory = tmp_path_factory.mktemp("store")
    keep(directory, list(shapes().values()))
    build(directory, "d", DatasetSpec(split=SplitRule(test=0.0, valid=0.0)))
    datasets.disable_progress_bars()
    return directory


def exported(store, name):
    output = store / "out" / name
    output.parent.mkdir(exist_ok=True)
    if not output.exists():
        report = export_dataset(store, NAME, output, format_name=name)
        left_out = {code: n for code, n in report.excluded.items() if n}
        assert left_out == LEFT_OUT.get(name, {})
    return output


def lines(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_every_shape_is_written_or_left_out_by_name(store, name):
    assert exported(store, name).exists()


def test_openai_takes_every_message_and_tool(store):
    message = pydantic.TypeAdapter(ChatCompletionMessageParam)
    tool = pydantic.TypeAdapter(ChatCompletionToolParam)
    rows = lines(exported(store, "openai-chat"))
    for row in rows:
        assert row.keys() <= {"messages", "tools", "parallel_tool_calls"}
        for one in row["messages"]:
            weight = one.pop("weight", None)
            assert weight in (None, 0, 1)
            message.validate_python(one, strict=True)
        for one in row.get("tools", ()):
            tool.validate_python(one, strict=True)
    assert len(rows) == 8


def test_openai_takes_every_request_of_a_batch(store):
    body = pydantic.TypeAdapter(CompletionCreateParamsNonStreaming)
    rows = lines(exported(store, "openai-batch"))
    for row in rows:
        body.validate_python(row["body"], strict=True)
    assert len({row["custom_id"] for row in rows}) == len(rows) == 8


@pytest.mark.parametrize("name", ["trl-prompt-completion", "trl-kto", "axolotl", "llamafactory"])
def test_datasets_gives_back_what_was_written(store, tmp_path, name):
    path = exported(store, name)
    told = path.with_name(path.name + ".features.json")
    features = None
    if told.exists():
        features = datasets.Features.from_dict(json.loads(told.read_text()))
    found = datasets.load_dataset(
        "json", data_files=str(path), features=features, cache_dir=str(tmp_path)
    )["train"]
    assert [without_null(row) for row in found] == lines(path)


def without_null(value):
    if isinstance(value, dict):
        return {key: without_null(inner) for key, inner in value.items() if inner is not None}
    return [without_null(inner) for inner in value] if isinstance(value, list) else value


def test_datasets_and_pandas_read_the_parquet_folder(store, tmp_path):
    folder = exported(store, "parquet")
    found = datasets.load_dataset(str(folder), cache_dir=str(tmp_path))["train"]
    frame = pandas.read_parquet(folder / "data")
    examples = list(read_examples(store, NAME))
    assert found["id"] == list(frame["id"]) == [example.id for example in examples]
    (called,) = [
        row for row in found if "tool_calls" in row["target"] and row["target"]["tool_calls"]
    ]
    assert json.loads(called["target"]["tool_calls"]) == [CALL]
    assert "Größe: 5 €" in [row["target"]["content"] for row in found]


def test_sqlite_utils_takes_the_raw_rows(store, tmp_path):
    path = exported(store, "jsonl-raw")
    database = tmp_path / "raw.db"
    words = ["insert", str(database), "rows", str(path), "--nl", "--pk", "id", "--alter"]
    subprocess.run([sys.executable, "-m", "sqlite_utils", *words], check=True, timeout=60)
    with closing(sqlite3.connect(database)) as connection:
        query = "select count(*), count(request), count(response) from rows"
        assert connection.execute(query).fetchone() == (8, 8, 8)


def test_a_yaml_reader_takes_promptfoo_s_tests(store):
    found = yaml.safe_load(exported(store, "promptfoo").read_bytes())
    assert len(found["tests"]) == 8
    texts = [test["vars"]["messages"].replace("{{ '{' }}", "{") for test in found["tests"]]
    asked = [json.loads(text)[-1]["content"] for text in texts]
    assert "Zażółć 日本語 🙂 \u2028 {{brace}}" in asked
