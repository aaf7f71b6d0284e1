import base64
import json
import tracemalloc
from hashlib import sha256

import pyarrow.parquet
import pytest
import yaml
from sqlite_utils import Database

from learning.dataset import build
from learning.dataset_spec import DatasetName, DatasetSpec, SplitRule
from learning.dataset_store import read_examples
from learning.export import FORMAT_NAMES, export, export_dataset
from tests.support.chats import answer as answer_of
from tests.support.chats import chat, keep_chats
from tests.support.records import REQUEST, RESPONSE, digest, keep, make_record


def lines(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def run(directory, output, format_name="openai-chat", **options):
    return export(directory, output, format_name=format_name, **options)


def answer(content="a", finish="stop", count=1):
    choices = [
        {"index": n, "message": {"role": "assistant", "content": content}, "finish_reason": finish}
        for n in range(count)
    ]
    return json.dumps({"choices": choices}).encode()


def test_openai_chat_is_one_conversation_a_line(tmp_path):
    keep(tmp_path, [make_record()])
    output = tmp_path / "out.jsonl"
    report = run(tmp_path, output)
    assert lines(output) == [
        {
            "messages": [
                {"role": "user", "content": "Payoff 1,250.10?"},
                {"role": "assistant", "content": "1250.10", "weight": 1},
            ]
        }
    ]
    assert (report.rows, report.excluded) == (1, {})
    assert report.bytes_written == output.stat().st_size
    assert report.sha256 == sha256(output.read_bytes()).hexdigest()


def test_what_is_left_out_is_counted_by_reason(tmp_path):
    excluded = {
        "failed": [
            make_record(status="error", complete=False),
            make_record(status="refused", complete=False),
            make_record(http_status=400),
        ],
        "cut_stream": [
            make_record(status="upstream_cut", complete=False),
            make_record(complete=False),
        ],
        "client_gone": [make_record(status="client_gone", complete=False)],
        "not_captured": [make_record(capture="metadata"), make_record(capture="off")],
        "truncated": [make_record(response=answer(finish="length"))],
        "filtered": [make_record(response=answer(finish="content_filter"))],
        "unreadable": [make_record(response=b"<html>"), make_record(request=b"[]")],
        "not_chat": [make_record(api="completions")],
    }
    keep(tmp_path, [make_record(), *(one for group in excluded.values() for one in group)])
    report = run(tmp_path, tmp_path / "out.jsonl")
    assert report.rows == 1
    assert report.excluded == {reason: len(group) for reason, group in excluded.items()}


def test_choices_nobody_kept_are_counted_beside_the_row(tmp_path):
    keep(tmp_path, [make_record(response=answer(count=3))])
    report = run(tmp_path, tmp_path / "out.jsonl")
    assert (report.rows, report.excluded) == (1, {"choice_unused": 2})


def test_a_streamed_answer_is_assembled(tmp_path):
    chunks = [
        {"choices": [{"index": 0, "delta": {"content": "12"}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {"content": "50"}, "finish_reason": "stop"}]},
    ]
    body = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in chunks)
    keep(tmp_path, [make_record(is_stream=True, response=body + b"data: [DONE]\n\n")])
    run(tmp_path, tmp_path / "out.jsonl")
    assert lines(tmp_path / "out.jsonl")[0]["messages"][-1]["content"] == "1250"


@pytest.mark.parametrize(
    "body",
    [
        REQUEST,
        REQUEST + b"\n",
        b'{\n "a": 1}',
        b"data: {}\r\n\r\n",
        b"[1]",
        b"\xff\xfe",
        b'{"a":1e2}',
    ],
)
def test_raw_rows_give_back_every_byte(tmp_path, body):
    keep(tmp_path, [make_record(request=body)])
    output = tmp_path / "out.jsonl"
    run(tmp_path, output, "jsonl-raw")
    [row] = lines(output)
    if "request_base64" in row:
        again = base64.b64decode(row["request_base64"])
    elif isinstance(row["request"], str):
        again = row["request"].encode()
    else:
        start = output.read_bytes().index(b'"request":') + len(b'"request":')
        again = output.read_bytes()[start : start + len(body)]
    assert again == body
    assert row["request_sha256"] == digest(body)


def test_raw_rows_hold_decision_attempts_and_no_null(tmp_path):
    keep(tmp_path, [make_record(confidence=None, labels={})])
    output = tmp_path / "out.jsonl"
    run(tmp_path, output, "jsonl-raw")
    [row] = lines(output)
    assert row["response"] == json.loads(RESPONSE)
    assert [one["backend"] for one in row["decision"]] == ["local", "gpt-4"]
    assert row["attempts"][0]["kind"] == "primary"
    assert row["complete"] is True

    def check(value):
        assert value is not None
        assert value not in ("", [], {})
        for inner in value.values() if isinstance(value, dict) else ():
            check(inner)

    check({key: value for key, value in row.items() if key not in ("request", "response")})


def test_raw_rows_go_into_sqlite_utils(tmp_path):
    keep(tmp_path, [make_record() for _ in range(3)])
    run(tmp_path, tmp_path / "out.jsonl", "jsonl-raw")
    database = Database(memory=True)
    database["rows"].insert_all(lines(tmp_path / "out.jsonl"), pk="id", alter=True)
    assert database["rows"].count == 3
    database.close()


def test_the_output_is_whole_or_as_it_was(tmp_path):
    keep(tmp_path, [make_record() for _ in range(3)])
    output = tmp_path / "out.jsonl"
    output.write_text("before")

    def fail(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, output, progress=fail)
    assert output.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []
    run(tmp_path, output)
    assert len(lines(output)) == 3


def test_progress_ends_at_the_total(tmp_path):
    keep(tmp_path, [make_record() for _ in range(5)])
    seen = []
    run(tmp_path, tmp_path / "out", progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (5, 5)


def test_an_unknown_format_writes_nothing(tmp_path):
    with pytest.raises(KeyError):
        run(tmp_path, tmp_path / "out", "csv")
    assert not (tmp_path / "out").exists()


def test_memory_does_not_grow_with_the_number_of_rows(tmp_path):
    body = b'{"messages":[{"role":"user","content":"%s"}]}' % (b"x" * 50_000)
    peaks = []
    for count in (20, 200):
        keep(tmp_path / str(count), [make_record(request=body) for _ in range(count)])
        tracemalloc.start()
        run(tmp_path / str(count), tmp_path / f"out{count}")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_000_000


# -- data sets ---------------------------------------------------------------------------------


def built(directory, count=30):
    keep_chats(directory, count)
    build(directory, "d", DatasetSpec(split=SplitRule(test=0.3)))
    return DatasetName("d", 1)


@pytest.mark.parametrize("format_name", [name for name in FORMAT_NAMES if name != "parquet"])
def test_every_format_writes_a_version(tmp_path, format_name):
    name = built(tmp_path)
    output = tmp_path / "out.jsonl"
    report = export_dataset(tmp_path, name, output, format_name=format_name)
    wanted = [e for e in read_examples(tmp_path, name) if e.split == "train"]
    if format_name.endswith("-dpo"):
        assert (report.rows, report.excluded["no_rejected"]) == (0, len(wanted))
    elif format_name == "promptfoo":
        assert len(yaml.safe_load(output.read_bytes())["tests"]) == report.rows == len(wanted)
    else:
        assert len(lines(output)) == report.rows == len(wanted)


def test_splits_are_chosen_and_lineage_lies_beside(tmp_path):
    name = built(tmp_path)
    output = tmp_path / "out.jsonl"
    report = export_dataset(
        tmp_path, name, output, format_name="openai-chat", splits=frozenset(["test"])
    )
    rows = pyarrow.parquet.read_table(tmp_path / "out.jsonl.lineage.parquet").to_pylist()
    wanted = [e for e in read_examples(tmp_path, name) if e.split == "test"]
    assert [row["request_id"] for row in rows] == [e.request_id for e in wanted]
    assert [row["row"] for row in rows] == list(range(report.rows))


def test_what_a_reader_wants_besides_is_written(tmp_path):
    name = built(tmp_path)
    for format_name, suffix in (("axolotl", ".yaml"), ("llamafactory", ".dataset_info.json")):
        export_dataset(tmp_path, name, tmp_path / format_name, format_name=format_name)
        text = (tmp_path / f"{format_name}{suffix}").read_text()
        assert format_name in text
        assert yaml.safe_load(text)


def test_raw_rows_of_a_version_are_its_captures(tmp_path):
    name = built(tmp_path)
    export_dataset(tmp_path, name, tmp_path / "raw", format_name="jsonl-raw")
    (first, *_) = lines(tmp_path / "raw")
    assert first["dataset"]["name"] == "d@1"
    assert first["request"]["messages"]


def test_a_version_exports_the_same_bytes_every_time(tmp_path):
    name = built(tmp_path)
    reports = [
        export_dataset(tmp_path, name, tmp_path / n, format_name="openai-chat") for n in "ab"
    ]
    assert reports[0].sha256 == reports[1].sha256


def test_the_official_client_and_trainers_can_read_rows(tmp_path):
    """`datasets`, which TRL reads with, takes tool rows and plain rows of one file."""
    import datasets

    name = built(tmp_path)
    export_dataset(tmp_path, name, tmp_path / "t.jsonl", format_name="trl-prompt-completion")
    datasets.disable_progress_bars()
    found = datasets.load_dataset(
        "json", data_files=str(tmp_path / "t.jsonl"), cache_dir=str(tmp_path / "cache")
    )
    assert found["train"][0]["completion"][0]["role"] == "assistant"


def test_thoughts_go_along_where_they_are_wanted(tmp_path):
    keep(tmp_path, [chat("q", answer_of("a", reasoning_content="hm"))])
    build(tmp_path, "d", DatasetSpec(split=SplitRule(test=0.0, valid=0.0)))
    for how, content in (("drop", "a"), ("think", "<think>\nhm\n</think>\n\na")):
        export_dataset(
            tmp_path, DatasetName("d", 1), tmp_path / how, format_name="openai-chat", reasoning=how
        )
        assert lines(tmp_path / how)[0]["messages"][-1]["content"] == content


TOOL = {"type": "function", "function": {"name": "f", "parameters": {
    "type": "object", "properties": {"a": {"type": "integer"}}}}}  # fmt: skip
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


def with_a_late_tool(directory):
    """Eleven megabytes of plain rows, then one with a tool: behind what a reader looks at."""
    keep(directory, [chat(f"{n} " + "x" * 20_000) for n in range(600)])
    for arguments in ('{"a": 1}', '{"a": "one"}'):
        call = {**CALL, "function": {"name": "f", "arguments": arguments}}
        said = answer_of(None, tool_calls=[call])
        keep(directory, [chat(f"call {arguments}", said, body={"tools": [TOOL]})])
    build(directory, "d", DatasetSpec(split=SplitRule(test=0.0, valid=0.0)))
    return DatasetName("d", 1)


def test_a_tool_that_comes_late_loads_as_it_is(tmp_path):
    """Guessed from the first megabytes, its columns would be an error or a silent loss."""
    import datasets

    datasets.disable_progress_bars()
    name = with_a_late_tool(tmp_path)
    for format_name in ("trl-prompt-completion", "axolotl", "llamafactory"):
        path = tmp_path / f"{format_name}.jsonl"
        export_dataset(tmp_path, name, path, format_name=format_name)
        told = path.with_name(path.name + ".features.json")
        features = (
            datasets.Features.from_dict(json.loads(told.read_text())) if told.exists() else None
        )
        found = datasets.load_dataset(
            "json", data_files=str(path), features=features, cache_dir=str(tmp_path / "cache")
        )["train"]
        assert len(found) == 602
        tools = [row for row in found if row["tools"]]
        written = [row for row in lines(path) if "tools" in row]
        assert [row["tools"] for row in tools] == [row["tools"] for row in written]
        assert len(tools) == 2
        if format_name == "trl-prompt-completion":
            assert tools == written
    places = pyarrow.parquet.read_table(tmp_path / "axolotl.jsonl.lineage.parquet").to_pylist()
    by_row = {row["row"]: row["id"] for row in places}
    assert sorted(by_row) == list(range(602))
    numbers = [n for n, row in enumerate(lines(tmp_path / "axolotl.jsonl")) if "tools" in row]
    assert [by_row[n] for n in numbers] == [e.id for e in read_examples(tmp_path, name) if e.tools]


def test_an_argument_that_changes_its_type_late_loads_as_it_is(tmp_path):
    """A number for eleven megabytes, then a word: only the columns beside the file help."""
    import datasets

    datasets.disable_progress_bars()
    records = []
    for number in range(601):
        call = {**CALL, "function": {"name": "f", "arguments": '{"a": %s}'}}
        call["function"]["arguments"] %= number if number < 600 else '"word"'
        said = answer_of(None, tool_calls=[call])
        records.append(chat(f"{number} " + "x" * 20_000, said, body={"tools": [TOOL]}))
    keep(tmp_path, records)
    build(tmp_path, "d", DatasetSpec(split=SplitRule(test=0.0, valid=0.0)))
    path = tmp_path / "out.jsonl"
    export_dataset(tmp_path, DatasetName("d", 1), path, format_name="trl-prompt-completion")
    told = json.loads((tmp_path / "out.jsonl.features.json").read_text())
    options = {"data_files": str(path), "cache_dir": str(tmp_path / "cache")}
    with pytest.raises(datasets.exceptions.DatasetGenerationError):
        datasets.load_dataset("json", **options)
    features = datasets.Features.from_dict(told)
    found = datasets.load_dataset("json", features=features, **options)["train"]
    assert list(found) == lines(path)
