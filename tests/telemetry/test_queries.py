import sqlite3
import threading
import time
from contextlib import closing
from hashlib import sha256

import pytest

from pointsman.tokens import Usage
from telemetry.fold import Folder
from telemetry.ids import IdSource
from telemetry.queries import (
    _RESPONSE,
    ANOTHERS,
    PAGE_ROWS,
    capture,
    captures,
    count_captures,
    decision,
    folded_until,
    follow,
    response_backend,
    spend,
)
from telemetry.store import day_files
from telemetry.verify import verify
from tests.support.records import (
    REQUEST,
    RESPONSE,
    fold,
    keep,
    make_attempt,
    make_candidate,
    make_record,
    write_journal,
)

DAY_S = 86_400
NOW_S = 1_760_000_000


def record_at(moment_s, **changes):
    identifier = IdSource(lambda: int(moment_s * 1e9))()
    return make_record(id=identifier, ts_us=int(moment_s * 1e6), **changes)


def ids(found):
    return [one["id"] for one in found]


def test_captures_have_the_documented_shape(tmp_path):
    record = record_at(NOW_S, usage=Usage(12, 5, 2, 1))
    keep(tmp_path, [record])
    [found] = captures(tmp_path)
    expected = {
        "id": record.id, "ts": "2025-10-09T08:53:20.000000Z", "route": "extract",
        "backend": "local", "status": "ok", "complete": True, "http_status": 200,
        "caller": "billing", "prompt_tokens": 12, "completion_tokens": 5, "reasoning_tokens": 2,
        "cost_usd": 0.00031, "confidence": 0.93, "request_sha256": sha256(REQUEST).hexdigest(),
        "response_sha256": sha256(RESPONSE).hexdigest(),
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    assert "request" not in found
    [attempt] = found["attempts"]
    expected = {
        "kind": "primary", "backend": "local", "status": "ok", "http_status": 200,
        "cost_usd": 0.00031, "prompt_tokens": 12, "completion_tokens": 5, "reasoning_tokens": None,
        "total_ms": 180.0, "first_token_ms": 41.0, "confidence": 0.93,
    }  # fmt: skip
    assert {name: attempt[name] for name in expected} == expected


def test_bodies_and_candidates_are_added_on_request(tmp_path):
    keep(tmp_path, [make_record()])
    [found] = captures(tmp_path, bodies=True, candidates=True)
    assert (found["request"].encode(), found["response"].encode()) == (REQUEST, RESPONSE)
    assert [candidate["backend"] for candidate in found["decision"]] == ["local", "gpt-4"]


def test_come_oldest_first_across_days_and_pages(tmp_path):
    records = [record_at(NOW_S - day * DAY_S - second) for day in (2, 0, 1) for second in (5, 0, 9)]
    keep(tmp_path, records)
    in_order = [record.id for record in sorted(records, key=lambda record: record.ts_us)]
    assert ids(captures(tmp_path)) == in_order
    for limit in range(11):
        expected = in_order[-limit:] if limit else []
        assert ids(captures(tmp_path, limit=limit)) == expected


def test_a_page_border_neither_drops_nor_repeats(tmp_path):
    count = PAGE_ROWS + 3
    records = [record_at(NOW_S, request=b"{}", response=b"{}") for _ in range(count)]
    keep(tmp_path, records)  # all of one moment: the order falls back on the fold's
    assert ids(captures(tmp_path)) == [record.id for record in records]
    assert ids(captures(tmp_path, limit=PAGE_ROWS + 1)) == [record.id for record in records[2:]]


def test_are_chosen_by_moment_and_route(tmp_path):
    old = record_at(NOW_S - 3 * DAY_S, route="default")
    middle = record_at(NOW_S - 60, route="extract")
    new = record_at(NOW_S, route="default")
    keep(tmp_path, [old, middle, new])
    assert ids(captures(tmp_path, since_us=(NOW_S - 60) * 1_000_000)) == [middle.id, new.id]
    assert ids(captures(tmp_path, route="default")) == [old.id, new.id]
    assert ids(captures(tmp_path, route="default", limit=1)) == [new.id]
    assert count_captures(tmp_path, route="default") == 2
    assert count_captures(tmp_path, since_us=NOW_S * 1_000_000) == 1


def test_nothing_kept_is_no_error(tmp_path):
    assert list(captures(tmp_path / "missing", limit=3)) == []
    assert capture(tmp_path, make_record().id) is None
    assert decision(tmp_path, make_record().id) is None
    assert spend(tmp_path) == []


def test_a_decision_has_the_shape_of_explain(tmp_path):
    candidates = (make_candidate("local"), make_candidate("gpt-4", cost_usd=None, prior=False))
    record = make_record(candidates=candidates)
    keep(tmp_path, [record])
    caller, found = decision(tmp_path, record.id)
    assert caller == "billing"
    assert list(found) == [
        "decision_id", "route", "policy", "chosen", "reason", "candidates", "plan",
    ]  # fmt: skip
    assert (found["decision_id"], found["chosen"]) == (record.id, "local")
    assert found["candidates"][0] == {
        "backend": "local", "eligible": True, "cost_usd": 0.0003,
        "latency_ms": {"p50": 170.0, "p95": 410.0}, "latency_p_within": 0.97,
        "p_acceptable": None, "propensity": 1.0, "prior": True, "reason": "fits",
    }  # fmt: skip
    assert found["candidates"][1]["cost_usd"] is None
    assert found["plan"] == [{"step": "fallback", "backend": "gpt-4", "condition": "on failure"}]


def test_the_backend_of_a_response_is_known_to_its_caller(tmp_path):
    old = record_at(NOW_S - 3 * DAY_S, api="responses", provider_response_id="resp_1", backend="a")
    new = record_at(NOW_S, api="responses", provider_response_id="resp_1", backend="b")
    chat = record_at(NOW_S, provider_response_id="chatcmpl-1")
    keyless = record_at(NOW_S, api="responses", provider_response_id="resp_2", caller=None)
    keep(tmp_path, [old, new, chat, keyless])
    assert response_backend(tmp_path, "resp_1", "billing") == "b"
    assert response_backend(tmp_path, "resp_1", "other") == ANOTHERS
    assert response_backend(tmp_path, "resp_1", None) == ANOTHERS
    assert response_backend(tmp_path, "resp_2", None) == "local"
    assert response_backend(tmp_path, "chatcmpl-1", "billing") is None


def test_a_response_is_known_for_a_month_and_looked_up_by_an_index(tmp_path):
    first = record_at(NOW_S, api="responses", provider_response_id="resp_old")
    keep(tmp_path, [first, *(record_at(NOW_S + day * DAY_S) for day in range(1, 31))])
    assert response_backend(tmp_path, "resp_old", "billing") == "local"
    keep(tmp_path, [record_at(NOW_S + 31 * DAY_S)])
    assert response_backend(tmp_path, "resp_old", "billing") is None
    path = dict(day_files(tmp_path))["2025-10-09"]
    with closing(sqlite3.connect(path)) as connection:
        plan = connection.execute(f"explain query plan {_RESPONSE}", ("x", "y")).fetchall()
    assert "requests_response" in plan[0][3]


def test_spend_adds_up_over_days_and_never_takes_unknown_for_nothing(tmp_path):
    keep(
        tmp_path,
        [
            record_at(NOW_S, cost_usd=0.5),
            record_at(NOW_S - DAY_S, cost_usd=0.25, status="error", complete=False),
            record_at(NOW_S, cost_usd=None, usage=Usage()),
            record_at(NOW_S, cost_usd=2.0, route="default", backend="gpt-4"),
        ],
    )
    dearest, second = spend(tmp_path)
    assert (dearest["route"], dearest["backend"], dearest["cost_usd"]) == ("default", "gpt-4", 2.0)
    expected = {
        "requests": 3, "cost_usd": 0.75, "unknown_cost": 1, "errors": 1, "prompt_tokens": 24,
        "usd_per_1k": 375.0, "error_rate": 1 / 3,
    }  # fmt: skip
    assert {name: second[name] for name in expected} == expected
    assert [row["requests"] for row in spend(tmp_path, since_us=NOW_S * 1_000_000)] == [1, 2]
    assert "day" not in dearest
    daily = spend(tmp_path, daily=True)
    assert [(row["day"], row["backend"], row["requests"]) for row in daily] == [
        ("2025-10-08", "local", 1), ("2025-10-09", "gpt-4", 1), ("2025-10-09", "local", 2),
    ]  # fmt: skip
    assert sum(row["cost_usd"] for row in daily) == 2.75


def test_spend_of_unknown_cost_alone_is_unknown(tmp_path):
    keep(tmp_path, [record_at(NOW_S, cost_usd=None, usage=Usage()) for _ in range(2)])
    (row,) = spend(tmp_path)
    assert (row["cost_usd"], row["usd_per_1k"], row["unknown_cost"]) == (None, None, 2)


def test_follow_sees_what_is_folded_from_now_on(tmp_path):
    keep(tmp_path, [make_record()])
    records = [make_record() for _ in range(3)]
    found = []

    def write():
        time.sleep(0.1)
        for record in records:
            write_journal(tmp_path, [record])
            fold(tmp_path)

    writer = threading.Thread(target=write)
    deadline_s = time.monotonic() + 10
    following = follow(
        tmp_path,
        behind=folded_until(tmp_path),
        poll_s=0.01,
        should_stop=lambda: len(found) == 3 or time.monotonic() > deadline_s,
    )
    writer.start()
    found.extend(one["id"] for one in following)
    writer.join()
    assert found == [record.id for record in records]


def test_a_listing_and_what_follows_it_have_each_capture_once(tmp_path):
    before, between, behind = make_record(), make_record(), make_record()
    keep(tmp_path, [before])
    now = folded_until(tmp_path)
    keep(tmp_path, [between])
    assert ids(captures(tmp_path, until=now)) == [before.id]
    assert ids(captures(tmp_path, until=now, limit=5)) == [before.id]
    keep(tmp_path, [behind])
    stops = iter([False, True])
    assert ids(follow(tmp_path, behind=now, should_stop=lambda: next(stops), poll_s=0)) == [
        between.id, behind.id,
    ]  # fmt: skip
    assert ids(captures(tmp_path, until={})) == []


def test_are_chosen_by_their_labels(tmp_path):
    odd = {"a.b": "1", 'a"b': "2", "x\\y": "3", "é": "ü"}
    plain = make_record(labels={"task": "one", "team": "red"})
    strange, bare = make_record(labels=odd), make_record(labels={})
    keep(tmp_path, [plain, strange, bare])
    assert ids(captures(tmp_path, labels={"task": "one"})) == [plain.id]
    assert ids(captures(tmp_path, labels={"Task": "one", "team": "red"})) == [plain.id]
    assert ids(captures(tmp_path, labels={"task": "one", "team": "blue"})) == []
    for name, value in odd.items():
        assert ids(captures(tmp_path, labels={name: value}, limit=1)) == [strange.id]
    assert count_captures(tmp_path, labels={"task": "one"}) == 1


def test_a_long_read_does_not_hold_the_writer_up(tmp_path):
    keep(tmp_path, [make_record() for _ in range(3)])
    reading = captures(tmp_path)
    next(reading)
    write_journal(tmp_path, [make_record()])
    folder = Folder(tmp_path)
    assert folder.fold_all().records == 1
    folder.close()
    assert len(list(reading)) == 2


@pytest.mark.parametrize("kind", ["retry", "escalation"])
def test_a_failed_attempt_is_shown_as_one(tmp_path, kind):
    failed = make_attempt("gpt-4", kind=kind, error_type="timeout", http_status=None, won=False)
    keep(tmp_path, [make_record(attempts=(make_attempt(), failed))])
    [found] = captures(tmp_path)
    shown = found["attempts"][1]
    assert (shown["kind"], shown["status"], shown["error_type"]) == (kind, "error", "timeout")


def test_a_damaged_day_is_reported_and_hides_no_other(tmp_path, capsys):
    good = record_at(NOW_S)
    keep(tmp_path, [good, record_at(NOW_S - DAY_S)])
    [(_, bad), _] = day_files(tmp_path)
    bad.write_bytes(b"not a database" * 1000)
    assert ids(captures(tmp_path)) == [good.id]
    assert count_captures(tmp_path) == 1
    assert "store_damaged" in capsys.readouterr().err
    assert bad.name in str(verify(tmp_path).problems)


def test_what_can_be_read_of_a_damaged_day_is(tmp_path, capsys):
    records = [record_at(NOW_S, request=bytes(9000), response=b"") for _ in range(40)]
    later = record_at(NOW_S + DAY_S)
    keep(tmp_path, [*records, later])
    [(_, bad), _] = day_files(tmp_path)
    data = bytearray(bad.read_bytes())
    page = 16_384
    for start in range(len(data) // 2 // page * page, len(data), page):
        data[start : start + 8] = b"\xff" * 8
    bad.write_bytes(data)
    found = ids(captures(tmp_path, bodies=True))
    assert found[-1] == later.id
    assert set(found) <= {record.id for record in records} | {later.id}
    assert "store_damaged" in capsys.readouterr().err
    assert not verify(tmp_path, deep=True).is_whole
