"""OpenAI's models on Azure: other addresses, another header, the same protocol."""

from pathlib import Path

import pytest

from adapters.backend import Backend
from adapters.declared import load_backends
from adapters.kinds.azure import ADAPTER
from pointsman.decoding import Findings
from pointsman.document import parse

URL = "base_url: https://mine.openai.azure.com, model: dep"


def declared(words: str) -> tuple[Backend, Findings]:
    findings = Findings()
    found = load_backends(
        parse(f"b: {{adapter: azure, {words}}}", "c.yaml"),
        findings=findings,
        directory=Path(),
        environment={"KEY": "k-1"},
    )
    return found["b"], findings


def located(words: str, path: str) -> str:
    backend, findings = declared(words)
    assert findings.errors == []
    return ADAPTER.locate(backend, path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/chat/completions", "/openai/deployments/dep/chat/completions"),
        ("/embeddings", "/openai/deployments/dep/embeddings"),
        ("/audio/speech", "/openai/deployments/dep/audio/speech"),
        ("/responses", "/openai/responses"),
        ("/files/file-1", "/openai/files/file-1"),
    ],
)
def test_a_dated_version_has_deployments_in_its_paths(path: str, expected: str) -> None:
    at = located(f"{URL}, api_version: 2024-10-21", path)
    assert at == f"{expected}?api-version=2024-10-21"


def test_a_deployments_name_is_one_segment_of_the_path() -> None:
    url = URL.replace("dep", "'a/../b?c#d'")
    at = located(f"{url}, api_version: 2024-10-21", "/embeddings")
    assert at == "/openai/deployments/a%2F..%2Fb%3Fc%23d/embeddings?api-version=2024-10-21"


@pytest.mark.parametrize("version", ["", ", api_version: v1"])
@pytest.mark.parametrize("ending", ["", "/openai", "/openai/v1"])
def test_the_newer_paths_need_no_version(version: str, ending: str) -> None:
    url = URL.replace("azure.com", f"azure.com{ending}")
    assert located(url + version, "/chat/completions") == "/openai/v1/chat/completions"


def test_what_is_new_on_the_newer_paths_is_asked_for() -> None:
    at = located(f"{URL}, api_version: preview", "/responses")
    assert at == "/openai/v1/responses?api-version=preview"


def test_the_key_goes_in_azures_header() -> None:
    backend, _ = declared(f"{URL}, api_key: {{env: KEY}}")
    assert ADAPTER.credentials(backend) == ((b"api-key", b"k-1"),)
    assert ADAPTER.credentials(declared(URL)[0]) == ()


def test_azures_own_headers_reach_the_client() -> None:
    sent = [(b"apim-request-id", b"1"), (b"x-ms-region", b"r"), (b"x-ms-client-request-id", b"c")]
    assert ADAPTER.to_downstream.kept(sent) == sent[:2]


def test_reasoning_brings_the_same_parameters_as_with_openai() -> None:
    assert declared(f"{URL}, reasoning: true")[0].parameters.drop
    assert declared(URL)[0].parameters.refuse == ()


@pytest.mark.parametrize("version", ["2024", "latest", "2024-10-21-beta"])
def test_another_version_is_no_version(version: str) -> None:
    _, findings = declared(f"{URL}, api_version: {version}")
    assert "api_version" in findings.errors[0].message
