"""One backend joined with its adapter: request lines, our own headers, what it asks to wait."""

from typing import Any

import pytest

from adapters.backend import Backend
from adapters.target import KNOWN_PATHS, Target


def target(**changes: Any) -> Target:
    fields = {"name": "b", "adapter": "openai", "model": "m", "host": "api.example", "port": 80}
    return Target(Backend(**(fields | changes)))


@pytest.mark.parametrize("path", [*KNOWN_PATHS, b"/v1/files/file-1/content"])
def test_a_request_line_lies_below_the_base_url(path: bytes) -> None:
    start = target(path_prefix="/base/v1").start(b"POST", path)
    assert start.startswith(b"POST /base" + path + b" HTTP/1.1\r\nhost: api.example\r\n")


def test_other_methods_have_lines_of_their_own() -> None:
    start = target().start(b"GET", b"/v1/responses", b"?limit=1")
    assert start.startswith(b"GET /v1/responses?limit=1 HTTP/1.1\r\n")
    assert start.endswith(b"\r\n")


def test_a_clients_query_joins_one_of_the_servers_own() -> None:
    azure = target(adapter="azure", path_prefix="", own="2024-10-21", model="dep")
    path = b"/openai/deployments/dep/chat/completions?api-version=2024-10-21"
    assert azure.start(b"POST", b"/v1/chat/completions").startswith(b"POST " + path + b" HTTP/1.1")
    start = azure.start(b"POST", b"/v1/chat/completions", b"?a=b")
    assert start.startswith(b"POST " + path + b"&a=b HTTP/1.1\r\n")


@pytest.mark.parametrize("name", [b"api-version", b"API-Version", b"api%2Dversion"])
def test_a_client_does_not_say_what_the_operator_has_said(name: bytes) -> None:
    azure = target(adapter="azure", path_prefix="", own="2024-10-21", model="dep")
    query = b"?" + name + b"=2020-01-01&a=b"
    line = azure.start(b"GET", b"/v1/files", query).partition(b" HTTP/1.1")[0]
    assert line == b"GET /openai/files?api-version=2024-10-21&a=b"
