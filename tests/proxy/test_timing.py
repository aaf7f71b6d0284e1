"""Time limits: the nearest counts, and each ends in its own words."""

from pathlib import Path
from typing import Any

import pytest

from policies.words import Timeout
from proxy.heads import RequestHead
from proxy.timing import allowed_s
from tests.support.plane import ASKED, STREAMED, serving, whole_answer
from tests.support.scripted import request, stall


def head(**own: str) -> RequestHead:
    headers = [(f"x-pointsman-{name}".encode(), value.encode()) for name, value in own.items()]
    return RequestHead(b"POST", b"/v1/x", headers, is_http_10=False, keeps_alive=True)


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [("200", 0.2), ("0", 0.0), ("999999999", 5.0), ("-1", 5.0), ("1e3", 5.0), ("9" * 40, 5.0)],
)
def test_a_clients_deadline_can_only_shorten(asked: str, allowed: float) -> None:
    assert allowed_s(head(**{"deadline-ms": asked}), Timeout(total_s=5.0)) == allowed


def test_without_a_deadline_the_routes_own_time_counts() -> None:
    assert allowed_s(head(), Timeout(total_s=7.5)) == 7.5


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("timeout: {total: 150ms}", ASKED),
        ("timeout: {total: 150ms}", STREAMED),
        ("timeout: {total: 9s, first_token: 150ms}", STREAMED),
        ("timeout: {total: 9s, first_token: 150ms}", ASKED),
    ],
)
def test_each_limit_ends_the_wait(tmp_path: Path, route: str, body: dict[str, Any]) -> None:
    script = [request, stall(2.0), whole_answer()]
    with serving(tmp_path, script, route=route) as (_, plane), plane.client() as client:
        answer = client.ask(body)
        assert (answer.status, answer.error["code"]) == (504, "deadline_exceeded")
        (attempt,) = plane.only_record().record.attempts
        assert attempt.error_type == "timeout"
        assert attempt.total_us < 1_000_000
