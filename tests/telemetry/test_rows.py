import sqlite3
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.tokens import Usage
from telemetry.capture_level import reduced
from telemetry.rows import (
    ATTEMPT_COLUMNS,
    DECISION_COLUMNS,
    KEPT_WHEN_OFF,
    REQUEST_COLUMNS,
    attempt_row,
    candidate_rows,
    fits_column,
    input_hash,
    request_row,
    row_crc,
)
from tests.support.records import make_attempt, make_candidate, make_record


def row_of(record):
    values = request_row(
        record, seq=7, node="n", worker=2, request=(1, 10, b"q"), response=(2, 20, b"a")
    )
    return dict(zip(REQUEST_COLUMNS, values, strict=True))


def test_each_fact_has_its_column():
    record = make_record(
        usage=Usage(10, 20, 5, 3, 1), seed=11, state="s", price_version="p1", client_request_id="c",
        canary="local-v2", is_sticky=True, is_simulated=True, is_unparsed=True, user="u",
        conversation="v", edited="model", provider_response_id="r", overhead_us=9,
    )  # fmt: skip
    row = row_of(record)
    expected = {
        "seq": 7, "node": "n", "worker": 2, "caller": "billing", "user_tag": "u", "seed": 11,
        "decided": "local", "backend": "local", "state": "s", "price_version": "p1",
        "prompt_tok": 10, "completion_tok": 20, "reasoning_tok": 5, "cached_tok": 3,
        "cache_write_tok": 1, "canary": "local-v2", "sticky": 1, "simulated": 1, "unparsed": 1,
        "labels": '{"task":"extract-1"}', "client_request_id": "c", "conversation_id": "v",
        "plan": '[{"step":"fallback","backend":"gpt-4","condition":"on failure"}]',
        "req_body": 1, "resp_body": 2, "request_bytes": 10, "response_bytes": 20,
        "request_sha256": b"q", "response_sha256": b"a", "edited": "model", "proxy_us": 9,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert len(row["input_hash"]) == 16


def test_unknown_is_null_and_never_zero():
    row = row_of(make_record(usage=Usage(), cost_usd=None, confidence=None, labels={}, plan=()))
    unknown = ("prompt_tok", "completion_tok", "cost_usd", "confidence", "labels", "plan", "canary")
    assert [row[name] for name in unknown] == [None] * len(unknown)


def test_off_leaves_the_columns_of_the_bill():
    row = row_of(reduced(make_record(capture="off")))
    assert {name for name, value in row.items() if value is not None} <= KEPT_WHEN_OFF


def test_candidates_and_attempts_have_theirs():
    first, second = candidate_rows([make_candidate("local"), make_candidate("gpt-4")])
    named = dict(zip(DECISION_COLUMNS[1:], first, strict=True))
    assert (named["rank"], named["backend"], named["chosen"], named["prior"]) == (0, "local", 1, 1)
    assert (named["pred_latency_us"], named["pred_latency_p95_us"]) == (170_000, 410_000)
    assert second[:2] == (1, "gpt-4")
    attempt = make_attempt(usage=Usage(1, 2, 3), kind="retry", won=False)
    named = dict(zip(ATTEMPT_COLUMNS, attempt_row(attempt, seq=7, number=1, body=5), strict=True))
    assert (named["kind"], named["won"], named["body"], named["n"]) == ("retry", 0, 5, 1)
    assert (named["prompt_tok"], named["completion_tok"], named["reasoning_tok"]) == (1, 2, 3)


def test_the_input_hash_is_of_what_an_answer_depends_on():
    plain = b'{"model":"a","messages":[{"role":"user","content":"x"}],"stream":true}'
    same = b'{"messages": [ {"content":"x", "role":"user"} ], "model":"b", "user":"someone"}'
    other = b'{"model":"a","messages":[{"role":"user","content":"y"}]}'
    tools = b'{"messages":[{"role":"user","content":"x"}],"tools":[{"type":"function"}]}'
    assert input_hash(plain) == input_hash(same)
    assert len({input_hash(body) for body in (plain, other, tools)}) == 3
    canonical = b'[[{"content":"x","role":"user"}],null,null]'
    assert input_hash(plain) == sha256(canonical).digest()[:16]


@pytest.mark.parametrize("body", [None, b"", b"not json", b"[1]", b"{}", b"[" * 100_000, b"\xff"])
def test_a_body_that_asks_nothing_has_no_input_hash(body):
    assert input_hash(body) is None


@given(st.binary(max_size=400))
def test_no_body_makes_the_input_hash_fail(body):
    input_hash(body)


@given(st.none() | st.integers(-(1 << 70), 1 << 70) | st.floats() | st.text() | st.binary())
def test_what_fits_a_column_can_be_stored_and_read_back(value):
    connection = sqlite3.connect(":memory:")
    try:
        [(found,)] = connection.execute("select ?", (value,))
    except (OverflowError, UnicodeEncodeError):
        assert not fits_column(value)
    else:
        assert fits_column(value) == (found == value)
    connection.close()


def test_a_lone_surrogate_fits_no_column():
    assert not fits_column("\ud800")


def test_the_row_checksum_covers_children():
    record = make_record()
    row = tuple(row_of(record).values())
    decisions = [(7, *one) for one in candidate_rows(record.candidates)]
    attempts = [attempt_row(record.attempts[0], seq=7, number=0, body=None)]
    whole = row_crc(row, decisions, attempts)
    assert whole == row_crc(row, list(decisions), list(attempts))
    assert whole != row_crc(row, decisions[:1], attempts)
    assert whole != row_crc(row, decisions, [])
    assert whole != row_crc((*row[:-1], 1), decisions, attempts)
