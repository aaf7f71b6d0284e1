"""What is answered without a backend: models, health, and paths that are not served."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.plane import Plane, config
from tests.support.raw_client import Answer, get, post

NOWHERE = "http://127.0.0.1:1/v1"


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    hidden = f"adapter: openai, base_url: '{NOWHERE}', hidden: true"
    routes = (
        "  extract: {match: {model: gpt-4}, candidates: [local]}\n  default: {candidates: [local]}"
    )
    text = config(routes, local=NOWHERE, secret=hidden, **{"'org/model:v1'": NOWHERE})
    with Plane(tmp_path, text) as running:
        yield running


def ask(plane: Plane, script: bytes, *, has_body: bool = True) -> Answer:
    with plane.client() as client:
        return client.send(script).read(has_body=has_body)


def test_lists_routes_and_backends_but_not_the_hidden(plane: Plane) -> None:
    answer = ask(plane, get("/v1/models"))
    assert (answer.status, answer.json["object"]) == (200, "list")
    names = [model["id"] for model in answer.json["data"]]
    assert {"extract", "default", "local", "org/model:v1"} <= set(names)
    assert "secret" not in names
    assert len(names) == len(set(names))
    for model in answer.json["data"]:
        assert set(model) == {"id", "object", "created", "owned_by"}
        assert (model["object"], type(model["created"])) == ("model", int)


def test_every_listed_model_can_be_retrieved(plane: Plane) -> None:
    client = plane.openai()
    for model in client.models.list().data:
        assert client.models.retrieve(model.id) == model
    client.close()


@pytest.mark.parametrize("name", ["nothing", "secret", "%ff", "org%2Fnothing", "a/b", "%2e%2e"])
def test_an_unknown_model_is_a_404(plane: Plane, name: str) -> None:
    answer = ask(plane, get(f"/v1/models/{name}"))
    assert answer.code == (404, "invalid_request_error", "model_not_found")
    assert answer.error["param"] is None
    assert name.encode() not in answer.body


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/models/", "/v1/files", "/metrics", "/v1/responses/x/y", "/v1/modelsx"]
)
def test_an_unknown_path_is_a_404(plane: Plane, path: str) -> None:
    answer = ask(plane, get(path))
    assert answer.code == (404, "invalid_request_error", "unknown_url")
    assert answer.header("server") is None
    assert plane.records() == []
    assert plane.count("unrecorded_total", code="unknown_url") == 1


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("PUT", "/v1/chat/completions", "POST"),
        ("OPTIONS", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/models", "GET"),
        ("POST", "/v1/models", "GET"),
        ("DELETE", "/v1/models/local", "GET"),
        ("POST", "/healthz", "GET"),
        ("PATCH", "/readyz", "GET"),
        ("POST", "/v1/models/local", "GET"),
    ],
)
def test_a_wrong_method_is_a_405_with_the_right_one(
    plane: Plane, method: str, path: str, allowed: str
) -> None:
    script = post(b"{}", path=path) if method in ("POST", "PUT", "PATCH") else get(path)
    script = method.encode() + script[script.index(b" ") :]
    answer = ask(plane, script)
    assert answer.code == (405, "invalid_request_error", "method_not_supported")
    assert answer.header("allow") == allowed


def test_a_head_request_gets_a_head(plane: Plane) -> None:
    with plane.client() as client:
        answer = client.send(b"HEAD" + get("/v1/models")[3:]).read(has_body=False)
        assert (answer.status, answer.header("allow")) == (405, "GET")
        assert client.send(get("/healthz")).read().status == 200


def test_a_query_changes_nothing(plane: Plane) -> None:
    assert ask(plane, get("/v1/models?limit=1")).status == 200


def test_tells_whether_it_is_ready(plane: Plane) -> None:
    assert ask(plane, get("/healthz")).json == {"status": "ok"}
    assert ask(plane, get("/readyz")).json == {"status": "ready"}
    with plane.client() as client:
        assert client.send(get("/healthz")).read().status == 200
        plane.call(lambda: setattr(plane.data_plane, "is_ready", False))
        answer = client.send(get("/readyz")).read()
        assert (answer.status, answer.json) == (503, {"status": "draining"})
