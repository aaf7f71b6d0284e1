"""Error bodies as servers are known to write them, and whatever else may come."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.refusals import BYTES_MAX, refusal_in, refusal_of

OPENAI = {"message": "m", "type": "invalid_request_error", "code": "context_length_exceeded"}
ANTHROPIC = {
    "type": "invalid_request_error",
    "message": "prompt is too long: 210000 tokens > 200000",
}
VLLM = {"message": "This model's maximum context length is 4096 tokens.", "code": 400}
LLAMA = {"code": 400, "message": "too large", "type": "exceed_context_size_error"}
AZURE = {"code": "content_filter", "message": "m", "innererror": {"code": "x"}}
AZURE_INSIDE = {"code": "400", "innererror": {"code": "ResponsibleAIPolicyViolation"}}
WORDS = {"type": "invalid_request_error", "message": "Output blocked by content filtering policy"}


def body(error: object) -> bytes:
    return json.dumps({"error": error}).encode()


@pytest.mark.parametrize(
    "error", [OPENAI, ANTHROPIC, VLLM, LLAMA], ids=["openai", "anthropic", "vllm", "llama.cpp"]
)
def test_a_prompt_that_is_too_long_is_known(error: object) -> None:
    assert refusal_of(400, body(error)) == "context_window"
    assert refusal_in(json.dumps(error).encode()) == "context_window"


@pytest.mark.parametrize(
    "error", [AZURE, AZURE_INSIDE, WORDS], ids=["azure", "azure-inside", "words"]
)
def test_a_filter_is_known(error: object) -> None:
    assert refusal_of(400, body(error)) == "content_filter"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"message": "max_tokens is too large", "code": "integer_above_max_value"}),
        (404, OPENAI),
        (500, OPENAI),
        (400, {"message": None, "code": 7, "innererror": [1]}),
        (400, "a text"),
        (400, {**OPENAI, "code": None, "message": "context window" + "x" * BYTES_MAX}),
    ],
    ids=["other", "not-found", "failed", "odd", "text", "huge"],
)
def test_all_else_is_no_refusal(status: int, error: object) -> None:
    assert refusal_of(status, body(error)) is None


@given(st.binary(max_size=200))
def test_nothing_that_comes_raises(data: bytes) -> None:
    assert refusal_of(400, data) in (None, "context_window", "content_filter")
    assert refusal_in(data) in (None, "context_window", "content_filter")
