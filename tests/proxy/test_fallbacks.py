"""Fallbacks by kind of failure, over real sockets."""

from pathlib import Path

import pytest

from tests.support.plane import STREAMED, Plane, ask, config, error_answer, event, whole_answer
from tests.support.plane import stream_answer as stream
from tests.support.scripted import Script, ScriptedUpstream, request, response

TOO_LONG: Script = [request, error_answer("400 Bad Request", code="context_length_exceeded")]
FILTERED: Script = [request, error_answer("400 Bad Request", code="content_filter")]
GOOD: Script = [request, whole_answer()]


def sized(upstream: ScriptedUpstream, context: int | None) -> str:
    words = f"adapter: openai, base_url: '{upstream.base_url}', model: m"
    return words if context is None else f"{words}, context: {context}"


@pytest.mark.parametrize(
    ("sizes", "answers"),
    [((8000, 128_000), True), ((8000, 8000), False), ((8000, 4000), False), ((8000, None), False)],
    ids=["larger", "same", "smaller", "unknown"],
)
def test_too_long_for_one_goes_to_a_candidate_with_the_larger_context(
    tmp_path: Path, sizes: tuple[int, int | None], answers: bool
) -> None:
    with ScriptedUpstream(TOO_LONG) as a, ScriptedUpstream(GOOD) as b:
        declared = {"a": sized(a, sizes[0]), "b": sized(b, sizes[1])}
        with Plane(tmp_path, config("  default: {candidates: [a, b]}", **declared)) as plane:
            answered = ask(plane)
            assert answered.status == (200 if answers else 400)
            tried = [("primary", "a", "status"), ("fallback", "b", None)]
            kept = plane.only_record()
            assert kept.tried == tried[: 2 if answers else 1]
            if not answers:
                assert answered.body.count(b"context_length_exceeded") == 1
                assert (kept.record.status, b.connections) == ("error", [])


def test_a_filter_sends_it_on_and_says_so_only_where_nobody_else_is(tmp_path: Path) -> None:
    with ScriptedUpstream(FILTERED * 2) as a, ScriptedUpstream(GOOD) as b:
        text = config(
            "  default: {candidates: [a], on_failure: [b]}\n  alone: {candidates: [a]}",
            a=a.base_url, b=b.base_url,
        )  # fmt: skip
        with Plane(tmp_path, text) as plane:
            assert ask(plane).header("x-pointsman-backend") == "b"
            alone = ask(plane, {"model": "alone", "messages": []})
            assert (alone.status, alone.header("x-pointsman-attempts")) == (400, "1")
            assert b"content_filter" in alone.body


def test_a_refusal_inside_a_stream_counts_as_one(tmp_path: Path) -> None:
    refused = event(error={"code": "context_length_exceeded", "message": "m"}, choices=[])
    whole = stream(event("hi"), event(finish="stop"), b"data: [DONE]\n\n")
    with ScriptedUpstream([request, stream(refused)]) as a, ScriptedUpstream([request, whole]) as b:
        text = config("  default: {candidates: [a], on_failure: [b]}", a=a.base_url, b=b.base_url)
        with Plane(tmp_path, text) as plane:
            assert ask(plane, STREAMED).header("x-pointsman-backend") == "b"
            assert plane.only_record().tried == [
                ("primary", "a", "error_event"),
                ("fallback", "b", None),
            ]


def test_a_refusal_says_nothing_of_the_backends_health(tmp_path: Path) -> None:
    with ScriptedUpstream(TOO_LONG * 6) as a, ScriptedUpstream(GOOD * 6) as b:
        text = config("  default: {candidates: [a], on_failure: [b]}", a=a.base_url, b=b.base_url)
        with Plane(tmp_path, text) as plane:
            for _ in range(6):
                assert ask(plane).header("x-pointsman-backend") == "b"
            assert plane.call(lambda: plane.data_plane.watch.unavailable) == {}


def test_what_only_the_client_can_mend_is_still_passed_on_byte_for_byte(tmp_path: Path) -> None:
    body = b'{"error":{"message":"no such parameter","type":"x","param":"p","code":"unknown"}}'
    answer: Script = [request, response(body, status="400 Bad Request")]
    with ScriptedUpstream(answer) as a, ScriptedUpstream(GOOD) as b:
        text = config("  default: {candidates: [a], on_failure: [b]}", a=a.base_url, b=b.base_url)
        with Plane(tmp_path, text) as plane:
            answered = ask(plane)
            assert (answered.status, answered.body, b.connections) == (400, body, [])
