"""What a backend is asked on top of the client's request, by what the route wants to know."""

import json
from pathlib import Path

import pytest

from tests.support.plane import ASKED, Plane, config, whole_answer
from tests.support.scripted import ScriptedUpstream, request


@pytest.mark.parametrize(
    ("backend", "route", "is_added"),
    [
        (", logprobs: true", ", confidence: {from: [logprobs], accept: 0.5}", True),
        (", logprobs: true", ", confidence: {from: [schema], accept: 0.5}", False),
        ("", ", confidence: {from: [logprobs], accept: 0.5}", False),
        (", logprobs: true", "", False),
    ],
)
def test_logprobs_are_asked_for_where_they_can_be_had_and_are_used(
    tmp_path: Path, backend: str, route: str, is_added: bool
) -> None:
    with ScriptedUpstream([request, whole_answer()]) as up:
        text = config(
            f"  default: {{candidates: [a]{route}}}",
            a=f"adapter: openai, base_url: '{up.base_url}', model: a{backend}",
        )
        with Plane(tmp_path, text) as plane, plane.client() as client:
            client.ask(ASKED)
        sent = json.loads(up.requests[0].partition(b"\r\n\r\n")[2])
        assert sent.get("logprobs", False) is is_added
