"""Every shape fails in its own API's words."""

import json

import pytest

from adapters.simulated.server import SHAPES
from adapters.simulated.shape import Shape, data_event


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
@pytest.mark.parametrize("status", [401, 404, 429, 500, 529])
def test_a_failure_is_an_error_body_and_an_event(shape: Shape, status: int) -> None:
    body = shape.failure(status)
    assert str(status) in json.loads(body)["error"]["message"]
    event = shape.error_event(body)
    assert event.endswith(b"\n\n")
    assert b"\ndata: {" in b"\n" + event


def test_an_event_without_a_name_is_one_line() -> None:
    assert data_event(b"{}") == b"data: {}\n\n"
