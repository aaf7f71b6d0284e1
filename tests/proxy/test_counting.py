"""What is counted, and under which labels."""

from pathlib import Path

import pytest

from proxy.counting import OVERHEAD_BOUNDS_US, Counting
from proxy.errors import invalid_key, unknown_url
from tests.support.plane import (
    ASKED,
    STREAMED,
    Plane,
    ask,
    error_answer,
    event,
    serving,
    stream_answer,
    whole_answer,
)
from tests.support.raw_client import get
from tests.support.records import make_record
from tests.support.scripted import request


def test_requests_attempts_tokens_and_cost_are_counted(tmp_path: Path) -> None:
    script = [
        request, error_answer("500 X"), request, whole_answer(),
        request, stream_answer(event("half")),
    ]  # fmt: skip
    with serving(tmp_path, script) as (_, plane):
        assert ask(plane).status == 200
        assert not ask(plane, STREAMED).is_whole
        assert ask(plane, b"{").status == 400
        plane.wait_for_records(3)
        count = plane.count
        assert count("requests_total", backend="a", route="default", status="ok") == 1
        assert count("requests_total", backend="a", route="default", status="upstream_cut") == 1
        assert count("requests_total", backend="", route="", status="refused") == 1
        assert count("attempts_total", backend="a", kind="primary", outcome="status") == 1
        assert count("attempts_total", backend="a", kind="retry", outcome="ok") == 1
        assert count("attempts_total", backend="a", kind="primary", outcome="cut") == 1
        assert count("tokens_total", backend="a", type="input") == 3
        assert count("tokens_total", backend="a", type="output") == 5
        assert count("cost_usd_total", backend="a") == pytest.approx(13e-6)
        assert count("errors_total", type="cut") == 1
        assert count("overhead_seconds_count") >= 2
        assert count("in_flight") == 0
        assert count("backend_in_flight", backend="a") == 0
        assert count("backend_connections_opened_total", backend="a") >= 1


def test_no_label_comes_from_a_request(tmp_path: Path) -> None:
    with serving(tmp_path, [request, whole_answer()] * 60) as (_, plane):
        with plane.client() as client:
            client.ask(ASKED)
            client.ask({**ASKED, "model": "none"})
            client.send(get("/none")).read()
            before = series(plane)
            for number in range(50):
                body = {**ASKED, "user": f"u{number}", "metadata": {"task": f"t{number}"}}
                client.ask(body, f"x-pointsman-label-a{number}: b")
                client.ask({**ASKED, "model": f"m{number}"})
                client.send(get(f"/p{number}")).read()
        assert series(plane) == before


def series(plane: Plane) -> set[object]:
    return set(plane.call(plane.data_plane.counters))


def test_what_is_not_recorded_is_counted_by_its_code() -> None:
    counting = Counting()
    for error in (invalid_key(), invalid_key(), unknown_url()):
        counting.unrecorded(error)
    counters = counting.counters
    assert counters["pointsman_unrecorded_total", (("code", "invalid_api_key"),)] == 2
    assert counters["pointsman_unrecorded_total", (("code", "unknown_url"),)] == 1


def test_overhead_falls_into_cumulative_buckets() -> None:
    counting = Counting()
    spans_us = [1, 50, 51, 999, 60_000]
    for span_us in spans_us:
        counting.request(make_record(overhead_us=span_us, labels_ignored=2))
    counting.request(make_record(overhead_us=None))
    counters = counting.counters
    name = "pointsman_overhead_seconds"
    for bound_us in OVERHEAD_BOUNDS_US:
        label = (("le", f"{bound_us / 1e6:g}"),)
        assert counters[f"{name}_bucket", label] == sum(us <= bound_us for us in spans_us)
    assert counters[f"{name}_bucket", (("le", "+Inf"),)] == len(spans_us)
    assert counters[f"{name}_count", ()] == len(spans_us)
    assert counters[f"{name}_sum", ()] == pytest.approx(sum(spans_us) / 1e6)
    assert counters["pointsman_labels_ignored_total", ()] == 10
