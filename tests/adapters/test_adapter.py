"""What adapters share: when the same request may do better another time, and what moved means."""

import pytest

from adapters.adapter import never_loading, retryable_by_status
from adapters.backend import Backend
from adapters.connection import ResponseHead
from adapters.edits import Wanted


def head(status: int, *headers: tuple[bytes, bytes]) -> ResponseHead:
    return ResponseHead(status, list(headers), True)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_another_time_may_be_better(status: int) -> None:
    assert retryable_by_status(head(status), b"")
    assert not retryable_by_status(head(status, (b"x-should-retry", b"false")), b"")
    assert not retryable_by_status(head(status), b'{"code":"insufficient_quota"}')


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 501])
def test_the_same_request_fails_again(status: int) -> None:
    assert not retryable_by_status(head(status), b"")


def test_most_servers_do_not_listen_before_they_can_answer() -> None:
    assert not never_loading(head(503), b'{"error":{"message":"Loading model"}}')


@pytest.mark.parametrize(("asked", "is_moved"), [("m-1", False), ("b", False), ("auto", True)])
def test_a_request_is_moved_where_its_client_asked_for_another_name(
    asked: str, is_moved: bool
) -> None:
    backend = Backend(name="b", adapter="openai", model="m-1")
    assert Wanted(asked, False, False, False).is_moved_to(backend) == is_moved
