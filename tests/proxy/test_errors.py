"""The table of our own errors: shape, status, type, code, and what they never say."""

import json
from collections.abc import Callable

import pytest

from proxy import errors
from proxy.errors import DownstreamError

INVALID, SERVER = "invalid_request_error", "server_error"

TABLE: list[tuple[DownstreamError, int, str, str | None]] = [
    (errors.invalid_key(), 401, INVALID, "invalid_api_key"),
    (errors.model_not_found(), 404, INVALID, "model_not_found"),
    (errors.unknown_url(), 404, INVALID, "unknown_url"),
    (errors.method_not_supported(b"GET"), 405, INVALID, "method_not_supported"),
    (errors.invalid("words", param="model"), 400, INVALID, None),
    (errors.framing("words"), 400, INVALID, "bad_request"),
    (errors.too_slow(), 408, INVALID, "request_timeout"),
    (errors.too_large(5), 413, INVALID, "request_too_large"),
    (errors.unsupported_encoding(), 415, INVALID, "unsupported_encoding"),
    (errors.expectation_failed(), 417, INVALID, "bad_request"),
    (errors.headers_too_large(), 431, INVALID, "headers_too_large"),
    (errors.overloaded(), 503, SERVER, "overloaded"),
    (errors.too_many_of_key(), 429, "requests", "rate_limit_exceeded"),
    (errors.no_backend("words"), 503, SERVER, "no_backend"),
    (errors.capture_unavailable(), 503, SERVER, "capture_unavailable"),
    (errors.upstream_error("words"), 502, SERVER, "upstream_error"),
    (errors.upstream_auth(), 502, SERVER, "upstream_auth"),
    (errors.internal(), 500, SERVER, "internal_error"),
    (errors.deadline_exceeded("total"), 504, SERVER, "deadline_exceeded"),
]


@pytest.mark.parametrize(("error", "status", "type", "code"), TABLE)
def test_each_error_says_what_the_table_says(
    error: DownstreamError, status: int, type: str, code: str | None
) -> None:
    assert (error.status, error.type, error.code) == (status, type, code)
    found = json.loads(error.body())["error"]
    assert list(found) == ["message", "type", "param", "code"]
    assert (found["type"], found["code"]) == (type, code)
    assert found["message"]


def test_what_cannot_go_on_closes() -> None:
    closing = {error.status for error, *_ in TABLE if error.closes}
    assert closing == {400, 408, 413, 417, 431}
    assert not errors.invalid("words").closes


def test_what_passes_says_when_to_come_back() -> None:
    for error in (errors.overloaded(), errors.no_backend("x"), errors.capture_unavailable()):
        assert int(dict(error.headers)[b"retry-after"]) >= 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: errors.upstream_error("x"),
        errors.upstream_auth,
        lambda: errors.deadline_exceeded("x"),
    ],
)
def test_after_our_own_tries_the_client_need_not_try(make: Callable[[], DownstreamError]) -> None:
    assert dict(make().headers)[b"x-should-retry"] == b"false"


def test_the_right_method_is_named() -> None:
    assert dict(errors.method_not_supported(b"POST").headers) == {b"allow": b"POST"}


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (errors.invalid_key(), "authentication_error"),
        (errors.model_not_found(), "not_found_error"),
        (errors.invalid("no"), "invalid_request_error"),
        (errors.too_large(1), "request_too_large"),
        (errors.overloaded(), "overloaded_error"),
        (errors.deadline_exceeded("request's"), "timeout_error"),
        (errors.upstream_error("it failed."), "api_error"),
    ],
)
def test_the_other_shape_names_the_error_by_its_status(
    error: errors.DownstreamError, named: str
) -> None:
    told = json.loads(error.body("anthropic"))
    assert told == {"type": "error", "error": {"type": named, "message": error.message}}
