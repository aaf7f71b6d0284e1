"""Whose fault an ended call was, told by real calls to a scripted backend."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.plane import (
    ASKED,
    DONE,
    STREAMED,
    Plane,
    ask,
    error_answer,
    event,
    one_backend,
    serving,
    stream_answer,
    whole_answer,
)
from tests.support.raw_client import post
from tests.support.scripted import Step, chunk, chunked_head, fin, request, response, stall

LOADING = {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}


def error_event(**error: Any) -> bytes:
    return b"data: " + json.dumps({"error": {"message": "no", **error}}).encode() + b"\n\n"


def standing(plane: Plane) -> tuple[str, int]:
    """The only backend's state, and its failures in a row."""
    health = plane.call(lambda: plane.data_plane.watch._health["a"])
    return health.standing.state, health.failures_in_a_row


NOTHING = ("ready", 0)
FAILURE = ("ready", 1)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ([whole_answer()], NOTHING),
        ([error_answer("400 Bad Request")], NOTHING),
        ([error_answer("404 Not Found")], NOTHING),
        ([error_answer("403 Forbidden")], NOTHING),
        ([error_answer("408 Request Timeout", "x-should-retry: false")], NOTHING),
        ([error_answer("500 X", "x-should-retry: false")], ("ready", 3)),
        ([response(b"not json")], ("ready", 3)),
        ([fin], ("ready", 3)),
        ([error_answer("401 Unauthorized")], ("credential_refused", 0)),
        ([error_answer("429 X", "retry-after: 60")], ("rate_limited", 0)),
        ([error_answer("429 X", "retry-after: 400")], ("rate_limited", 0)),
        ([error_answer("429 X", code="insufficient_quota")], ("no_quota", 0)),
        (
            [response(json.dumps(LOADING).encode(), status="503 Service Unavailable")],
            ("loading", 0),
        ),
    ],
)
def test_what_one_answer_says(tmp_path: Path, said: list[Step], found: tuple[str, int]) -> None:
    route = "timeout: {total: 2s}"
    with serving(tmp_path, [request, *said, request, *said, fin], route=route) as (_, plane):
        ask(plane)
        state, failures = standing(plane)
        assert state == found[0]
        assert failures <= found[1]
        assert (failures > 0) == (found[1] > 0)


@pytest.mark.parametrize(
    ("error", "state"),
    [
        ({"code": 503}, "ready"),
        ({"code": 429}, "rate_limited"),
        ({"code": "rate_limit_exceeded"}, "rate_limited"),
        ({"code": "insufficient_quota"}, "no_quota"),
        ({"code": [], "type": {}}, "ready"),
    ],
)
def test_what_an_error_inside_an_answer_says(
    tmp_path: Path, error: dict[str, Any], state: str
) -> None:
    said = stream_answer(error_event(**error))
    route = "timeout: {total: 2s}"
    with serving(tmp_path, [request, said, request, said, fin], route=route) as (_, plane):
        ask(plane, STREAMED)
        found, failures = standing(plane)
        assert found == state
        assert (failures > 0) == (state == "ready")


def test_a_clients_mistake_inside_an_answer_says_nothing(tmp_path: Path) -> None:
    said = stream_answer(error_event(type="invalid_request_error", code=400))
    with serving(tmp_path, [request, said, request, said, request, said]) as (_, plane):
        ask(plane, STREAMED)
        assert standing(plane) == NOTHING


def test_a_cut_stream_is_a_failure(tmp_path: Path) -> None:
    said: list[Step] = [chunked_head(), chunk(event("he", usage=None)), fin]
    with serving(tmp_path, [request, *said]) as (_, plane):
        ask(plane, STREAMED)
        assert standing(plane) == FAILURE


def test_a_whole_stream_makes_good_for_failures(tmp_path: Path) -> None:
    whole = stream_answer(event("he"), event(finish="stop"), DONE)
    with serving(tmp_path, [request, fin], [request, whole]) as (_, plane):
        assert ask(plane, STREAMED).status == 200
        assert standing(plane) == NOTHING


def test_a_client_that_leaves_says_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, [request, stall(5)]) as (upstream, plane):
        with plane.client() as client:
            client.send(post(ASKED))
            upstream.wait_for_connection()
            plane.wait_until(lambda: upstream.requests)
        plane.wait_for_records(1)
        assert standing(plane) == NOTHING


@pytest.mark.parametrize(
    ("route", "headers", "found"),
    [
        ("timeout: {total: 5s, first_token: 100ms}", [], FAILURE),
        ("timeout: {total: 100ms}", [], FAILURE),
        ("timeout: {total: 5s}", ["x-pointsman-deadline-ms: 100"], NOTHING),
    ],
)
def test_a_silent_backend_fails_but_a_clients_short_patience_is_its_own(
    tmp_path: Path, route: str, headers: list[str], found: tuple[str, int]
) -> None:
    with serving(tmp_path, [request, stall(5)], route=route) as (_, plane):
        assert ask(plane, ASKED, *headers).status == 504
        assert standing(plane) == found


def test_a_long_answer_is_no_failure(tmp_path: Path) -> None:
    said: list[Step] = [chunked_head(), chunk(event("he", usage=None)), stall(5)]
    route = "timeout: {total: 200ms}"
    with serving(tmp_path, [request, *said], route=route) as (_, plane):
        ask(plane, STREAMED)
        assert standing(plane) == NOTHING


def test_our_own_limit_says_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, [request, stall(5)]) as (upstream, plane):
        config = one_backend(upstream.base_url).replace("price:", "in_flight: 1, price:")
        plane.reconfigure(config)
        with plane.client() as client:
            client.send(post(ASKED))
            plane.wait_until(lambda: upstream.requests)
            assert ask(plane).code[2] == "overloaded"
            assert standing(plane) == NOTHING


def test_nobody_there_is_a_failure(tmp_path: Path) -> None:
    with Plane(tmp_path, one_backend("http://127.0.0.1:9/v1")) as plane:
        assert ask(plane).status == 503
        assert standing(plane)[1] == 2
