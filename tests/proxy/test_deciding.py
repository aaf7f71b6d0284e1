"""Where requests go that cannot take any backend of their route."""

import json
from math import exp
from pathlib import Path
from typing import Any

import pytest

from policies.fitted import Fitted
from policies.text_features import SHAPE_NAMES
from policies.text_model import Head, TextModel, pack_grams
from tests.support.plane import ASKED, Plane, ask, config, whole_answer
from tests.support.scripted import ScriptedUpstream, answering, request, response

RESPONSES = "/v1/responses"
EMBEDDINGS = "/v1/embeddings"


def made(response_id: str) -> bytes:
    return response(json.dumps({"id": response_id, "status": "completed", "output": []}).encode())


def answered(plane: Plane, path: str, body: dict[str, Any]) -> tuple[int, str | None]:
    """Status and backend."""
    with plane.client() as client:
        answer = client.ask(body, path=path)
    return answer.status, answer.header("x-pointsman-backend")


def test_who_goes_on_from_a_response_goes_to_its_backend(tmp_path: Path) -> None:
    with (
        ScriptedUpstream([request, made("resp_a")] * 3) as a,
        ScriptedUpstream([request, made("resp_b")] * 3) as b,
        Plane(tmp_path, config("  default: {candidates: [a, b]}\n  other: {candidates: [b]}",
                               a=a.base_url, b=b.base_url)) as plane,
    ):  # fmt: skip
        assert answered(plane, RESPONSES, {"model": "other"}) == (200, "b")
        going_on = {"model": "default", "previous_response_id": "resp_b"}
        assert answered(plane, RESPONSES, going_on) == (200, "b")
        assert answered(plane, RESPONSES, {"previous_response_id": "resp_b"}) == (200, "b")
        unknown = {"model": "auto", "previous_response_id": "resp_of_nobody"}
        assert answered(plane, RESPONSES, unknown) == (200, "a")
        records = [kept.record for kept in plane.wait_for_records(4)]
    assert [record.route for record in records] == ["other", "default", "default", "default"]
    assert [record.provider_response_id for record in records] == ["resp_b"] * 3 + ["resp_a"]


def test_a_pinned_request_falls_back_to_nobody(tmp_path: Path) -> None:
    with (
        ScriptedUpstream([request, made("resp_a"), *[request, response(b"", status="500 No")] * 3])
        as a,
        ScriptedUpstream([request, made("resp_b")]) as b,
        Plane(tmp_path, config("  default: {candidates: [a], on_failure: [b]}",
                               a=a.base_url, b=b.base_url)) as plane,
    ):  # fmt: skip
        assert answered(plane, RESPONSES, {}) == (200, "a")
        status, backend = answered(plane, RESPONSES, {"previous_response_id": "resp_a"})
        assert (status, backend) == (502, "a")
        assert not b.connections


def test_a_request_without_a_model_goes_to_default_and_gets_none_put_in(tmp_path: Path) -> None:
    with (
        ScriptedUpstream([request, made("resp_a")] * 2) as a,
        Plane(tmp_path, config("  r: {match: {model: '*'}, candidates: [a]}\n"
                               "  default: {candidates: [a]}", a=a.base_url)) as plane,
    ):  # fmt: skip
        assert answered(plane, RESPONSES, {"input": "hi"}) == (200, "a")
        assert plane.only_record().record.route == "default"
    assert json.loads(a.requests[0].partition(b"\r\n\r\n")[2]) == {"input": "hi"}


VECTORS = response(b'{"data":[{"embedding":"AAAA"}],"usage":{"prompt_tokens":3}}')


@pytest.mark.parametrize(("vectors", "backend"), [("small", "b"), ("large", None)])
def test_only_backends_of_the_same_vectors_stand_in(
    tmp_path: Path, vectors: str, backend: str | None
) -> None:
    failing = [request, response(b"{}", status="503 No")] * 3
    with ScriptedUpstream(failing) as a, ScriptedUpstream([request, VECTORS]) as b:
        words = "adapter: openai, base_url: '{}', vectors: {}"
        text = config(
            "  default: {candidates: [a], on_failure: [b]}",
            a=words.format(a.base_url, "small"),
            b=words.format(b.base_url, vectors),
        )
        with Plane(tmp_path, text) as plane:
            status, served = answered(plane, EMBEDDINGS, {"model": "auto", "input": "x"})
            assert served == (backend or "a")
            assert status == (200 if backend else 502)
            assert bool(b.connections) == (backend is not None)


@pytest.mark.parametrize(
    "body",
    [
        b'{"previous_response_id":"resp_a","previous_response_id":"resp_b"}',
        b'{"previous_response_id":"resp_a","previous_response_i\\u0064":"resp_b"}',
    ],
)
def test_an_earlier_response_that_is_named_twice_is_refused(tmp_path: Path, body: bytes) -> None:
    with ScriptedUpstream() as a:
        text = config("  default: {candidates: [a]}", a=a.base_url)
        with Plane(tmp_path, text) as plane, plane.client() as client:
            assert client.ask(body, path=RESPONSES).code == (400, "invalid_request_error", None)
        assert not a.connections


def test_who_answers_best_is_told_from_the_words_where_it_matters(tmp_path: Path) -> None:
    zeros = (0.0,) * len(SHAPE_NAMES)
    no_words = pack_grams(10, [], [], [[], []])
    heads = (Head("a", 1.0, zeros, {}), Head("b", 0.0, zeros, {"law": 3.0}))
    fitted = Fitted("d", TextModel((no_words,), heads, 40))
    routes = "  sure: {candidates: [a, b], prefer: surest}\n  default: {candidates: [a, b]}"
    with (
        ScriptedUpstream([answering(lambda request: whole_answer())] * 9) as a,
        ScriptedUpstream([answering(lambda request: whole_answer())] * 9) as b,
        Plane(tmp_path, config(routes, a=a.base_url, b=b.base_url)) as plane,
    ):
        data_plane = plane.data_plane
        before = data_plane.wiring.configuration
        plane.call(lambda: data_plane.configure(before, None, fitted))
        assert plane.call(data_plane.state)["fitted"] == "d"
        for model, task, backend in (
            ("sure", "x", "a"),
            ("sure", "law", "b"),
            ("auto", "law", "a"),
        ):
            found = ask(plane, {**ASKED, "model": model}, f"x-pointsman-label-task: {task}")
            assert found.header("x-pointsman-backend") == backend
        kept = [one.record for one in plane.wait_for_records(3)]
    chances = [[one.p_acceptable for one in record.candidates] for record in kept]
    assert chances[1] == pytest.approx([1 / (1 + exp(-1.0)), 1 / (1 + exp(-3.0))])
    assert chances[2] == [None, None]  # no words are read where they change nothing
