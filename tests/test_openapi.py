"""The published descriptions of our two ports name what the program has, all of it and no more."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.endpoints import ENDPOINTS
from proxy.passage import RESPONSES_PREFIX
from proxy.reply import ALLOWED, DECISIONS_PREFIX, MODELS_PATH
from tests.support.admin_port import running
from tests.support.plane import Plane
from tests.support.raw_client import Answer
from tests.support.simple_config import SIMPLE
from tests.test_docs import errors_of_ours

ROOT = Path(__file__).resolve().parent.parent
PORTS = ("data", "admin")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@cache
def described(name: str) -> dict[str, Any]:
    """One document."""
    found: dict[str, Any] = yaml.safe_load((ROOT / f"docs/openapi-{name}.yaml").read_text("utf-8"))
    return found


def served(name: str) -> dict[str, set[str]]:
    """Methods by path."""
    paths = described(name)["paths"].items()
    return {
        path: {word.upper() for word in item if word.upper() in METHODS} for path, item in paths
    }


def operations(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """All operations with their path and method."""
    for path, methods in served(name).items():
        for method in methods:
            yield f"{method} {path}", described(name)["paths"][path][method.lower()]


def references(value: Any) -> Iterator[str]:
    """Every `$ref` in a document."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


@pytest.mark.parametrize("name", PORTS)
def test_references_lead_somewhere(name: str) -> None:
    components = described(name)["components"]
    for reference in references(described(name)):
        _, _, kind, word = reference.split("/")
        assert word in components[kind], reference


@pytest.mark.parametrize("name", PORTS)
def test_operations_have_names_of_their_own(name: str) -> None:
    names = [operation["operationId"] for _, operation in operations(name)]
    assert len(set(names)) == len(names) > 5
    assert all(operation["summary"] for _, operation in operations(name))


def test_every_path_of_the_data_port_is_described_and_no_other() -> None:
    own = {path.decode() for path in ALLOWED}
    below = {f"{MODELS_PATH.decode()}/{{model}}", f"{DECISIONS_PREFIX.decode()}{{decision_id}}"}
    by_id = f"{RESPONSES_PREFIX.decode()}{{response_id}}"
    pinned = {by_id, f"{by_id}/cancel", f"{by_id}/input_items"}
    assert set(served("data")) == own | below | pinned
    assert {path.decode() for path in ENDPOINTS} < own


def test_every_code_of_ours_is_described_and_no_other() -> None:
    codes = {code for _, code in errors_of_ours() if code is not None} | {"upstream_cut"}
    named = [described(name)["components"]["schemas"]["ErrorCode"]["enum"] for name in PORTS]
    assert set(named[0]) | set(named[1]) == codes


def test_every_status_of_an_error_is_described() -> None:
    described_somewhere = {
        status
        for name in PORTS
        for _, operation in operations(name)
        for status in operation["responses"]
    }
    statuses = {str(status) for status, _ in errors_of_ours()}
    assert statuses - described_somewhere <= {"405"}  # of methods that are not described


def example(path: str) -> str:
    """A path with something in its places."""
    return re.sub(r"\{\w+\}", "default", path)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A data plane with simulated backends."""
    with Plane(tmp_path_factory.mktemp("openapi"), SIMPLE) as plane:
        yield plane


def ask(plane: Plane, method: str, path: str) -> Answer:
    """A request without a body, on a connection of its own."""
    with plane.client() as client:
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        return client.send(head.encode()).read()


@pytest.mark.parametrize("path", served("data"))
def test_the_data_port_serves_the_described_methods_and_no_other(path: str, plane: Plane) -> None:
    methods = served("data")[path]
    for method in METHODS:
        answer = ask(plane, method, example(path))
        if method in methods:
            operation = described("data")["paths"][path][method.lower()]
            assert str(answer.status) in operation["responses"], (method, answer.status)
        else:
            assert answer.status == 405, (method, answer.status)
            assert set((answer.header("allow") or "").split(", ")) == methods


async def test_the_admin_port_serves_the_described_methods_and_no_other(tmp_path: Path) -> None:
    async with running(tmp_path) as admin:
        for path, methods in served("admin").items():
            for method in METHODS:
                status, headers, _ = await admin.ask(example(path), method)
                if method in methods:
                    operation = described("admin")["paths"][path][method.lower()]
                    assert str(status) in operation["responses"], (method, path, status)
                else:
                    assert status == 405, (method, path, status)
                    assert set(headers["allow"].split(", ")) - {"HEAD"} == methods
