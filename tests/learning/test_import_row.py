import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.import_row import BadRow, record_of
from telemetry.ids import milliseconds_of, new_id

ASKED = {"model": "gpt-4", "messages": [{"role": "user", "content": "Payoff?"}]}
ANSWER = {
    "id": "chatcmpl-7",
    "model": "gpt-4-0613",
    "created": 1_700_000_000,
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "1250.10"},
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 9,
        "completion_tokens": 4,
        "completion_tokens_details": {"reasoning_tokens": 3},
    },
}


def read(row, **options):
    line = row if isinstance(row, bytes) else json.dumps(row).encode()
    return record_of(line, **{"source": "elsewhere", "fallback_ms": 1_000_000, **options})


def pair(**members):
    return {"request": ASKED, "response": ANSWER, **members}


def test_a_pair_becomes_a_capture_with_its_source():
    record = read(pair())
    assert (record.source, record.status, record.complete) == ("elsewhere", "ok", True)
    assert record.ts_us == 1_700_000_000_000_000
    assert milliseconds_of(record.id) == 1_700_000_000_000
    assert (record.model_asked, record.model_reported) == ("gpt-4", "gpt-4-0613")
    assert (record.usage.prompt, record.usage.completion, record.usage.reasoning) == (9, 4, 3)
    assert record.finish_reason == "stop"
    assert json.loads(record.request) == ASKED


def test_bodies_keep_their_bytes():
    request = json.dumps(ASKED, indent=1)
    assert read(pair(request=request)).request == request.encode()
    encoded = base64.b64encode(b"\xff\x00").decode()
    row = {"request": ASKED, "response_base64": encoded}
    assert read(row).response == b"\xff\x00"


def test_a_fine_tuning_row_is_taken_apart():
    messages = [*ASKED["messages"], {"role": "assistant", "content": "1250.10", "weight": 1}]
    record = read({"messages": messages, "tools": [{"type": "function"}]})
    assert json.loads(record.request)["messages"] == ASKED["messages"]
    assert record.has_tools
    answer = json.loads(record.response)["choices"][0]
    assert answer["message"] == {"role": "assistant", "content": "1250.10"}
    assert (record.status, record.finish_reason) == ("ok", "stop")


def test_the_same_row_has_the_same_id_and_another_has_another():
    assert read(pair()).id == read(pair()).id
    assert read(pair()).id != read(pair(backend="x")).id
    assert read(pair()).id != read(pair(), source="b").id


def test_an_id_of_our_own_kind_and_a_stated_time_are_kept():
    own = new_id()
    assert read(pair(id=own)).id == own
    assert read(pair(id=own)).ts_us == milliseconds_of(own) * 1000
    assert read(pair(ts="2026-01-02T03:04:05Z")).ts_us == 1_767_323_045_000_000
    assert read(pair(ts=12.5)).ts_us == 12_500_000
    row = {"request": ASKED, "response": {**ANSWER, "created": None}}
    assert read(row, fallback_ms=7_000).ts_us == 7_000_000


def test_what_the_row_says_counts_before_what_the_answer_says():
    row = pair(prompt_tokens=1, completion_tokens=2, cost_usd=0.5, total_ms=10.5, backend="b")
    record = read({**row, "labels": {"Task": "t"}, "conversation": "c"})
    assert (record.usage.prompt, record.cost_usd, record.total_us) == (1, 0.5, 10_500)
    assert (record.task, record.conversation, record.backend) == ("t", "c", "b")


@pytest.mark.parametrize(
    ("row", "status"),
    [
        ({"request": ASKED}, "error"),
        ({"request": ASKED, "response": None}, "error"),
        (pair(http_status=500), "error"),
        (pair(response={"error": {"message": "no"}}), "error"),
        (pair(response='data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'),
         "upstream_cut"),
        (pair(status="client_gone"), "client_gone"),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_kept_as_what_it_is(row, status):
    record = read(row)
    assert (record.status, record.complete) == (status, False)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"{", "not JSON"),
        (b'{"request": "\xff"}', "UTF-8"),
        (b"[]", "Expected `object`"),
        ({}, "neither 'request' nor 'messages'"),
        ({"request": 5}, "must be an object or text"),
        ({"request": {"model": "m"}}, "no messages"),
        ({"request": {"model": "m", "messages": "hi"}}, "no messages"),
        ({"request": {"messages": [1]}}, "no chat request"),
        ({"request": "hello"}, "no chat request"),
        ({"messages": [{"role": "user", "content": "a"}]}, "last of 'messages'"),
        ({"messages": []}, "last of 'messages'"),
        (pair(ts="yesterday"), "no ISO time"),
        (pair(ts=-1), "not a moment"),
        (pair(cost_usd="free"), "$.cost_usd"),
        (pair(labels=["a"]), "$.labels"),
        ({"request_base64": "*"}, "request_base64"),
        (b'{"request": ' + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_row_that_cannot_be_read_says_why(row, reason):
    with pytest.raises(BadRow) as caught:
        read(row)
    assert reason in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
members = st.dictionaries(
    st.sampled_from(
        ["request", "response", "messages", "tools", "id", "ts", "labels", "status", "model"]
    ),
    json_values,
)


@given(st.binary(max_size=60) | members.map(lambda row: json.dumps({**pair(), **row}).encode()))
def test_any_line_is_a_record_or_a_bad_row(line):
    try:
        record = read(line)
    except BadRow:
        return
    assert milliseconds_of(record.id) is not None
    assert record.request
