import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.response import read_event, read_response, sequence_number


def test_reads_a_response() -> None:
    found, is_typed = read_response(b'{"id":"r","status":"completed","output":[],"x":1}')
    assert found is not None
    assert (is_typed, found.id, found.status, found.output) == (True, "r", "completed", [])


def test_salvages_what_is_of_its_type() -> None:
    odd = {
        "id": 5,
        "model": "m",
        "status": "completed",
        "usage": {"input_tokens": 3, "output_tokens": "many", "input_tokens_details": None},
        "output": [{"type": "message", "content": [{"text": "half \ud83d"}, 5]}, "odd"],
        "error": None,
    }
    found, is_typed = read_response(json.dumps(odd).encode())
    assert found is not None
    assert found.usage is not None
    assert found.output is not None
    assert found.output[0].content is not None
    assert (is_typed, found.id, found.model) == (False, None, "m")
    assert (found.usage.input_tokens, found.usage.output_tokens) == (3, None)
    assert found.output[0].content[0].text == "half ?"


def test_salvages_an_event() -> None:
    odd = b'{"type":"error","message":"no","code":5,"response":{"id":"r","model":7}}'
    found, is_typed = read_event(odd)
    assert found is not None
    assert found.response is not None
    assert (is_typed, found.type, found.message, found.response.id) == (False, "error", "no", "r")


@pytest.mark.parametrize(
    ("payload", "number"),
    [(b'{"sequence_number":7}', 7), (b"{}", -1), (b'{"sequence_number":"7"}', -1), (b"[DONE]", -1)],
)
def test_an_events_number(payload: bytes, number: int) -> None:
    assert sequence_number(payload) == number


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    read_response(body)
    read_event(body)
    sequence_number(body)
