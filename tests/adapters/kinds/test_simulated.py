"""Simulated backends are asked as real ones are, in either protocol."""

from pathlib import Path

import pytest

from adapters.backend import with_simulator
from adapters.declared import load_backends
from adapters.registry import find_adapter
from adapters.target import Target
from pointsman.decoding import Findings
from pointsman.document import parse


@pytest.mark.parametrize(
    ("adapter", "protocol", "path"),
    [
        ("simulated", "openai", b"/v1/chat/completions"),
        ("simulated_anthropic", "anthropic", b"/v1/messages"),
    ],
)
def test_is_asked_at_the_simulators_address(adapter: str, protocol: str, path: bytes) -> None:
    findings = Findings()
    text = f"b: {{adapter: {adapter}, profile: o3-mini}}"
    backends = load_backends(
        parse(text, "c.yaml"), findings=findings, directory=Path(), environment={}
    )
    backend = with_simulator(backends, "127.0.0.1", 4711)["b"]
    assert findings.errors == []
    assert backend.is_simulated
    assert backend.protocol == find_adapter(adapter).protocol == protocol
    assert backend.parameters.drop
    start = Target(backend).start(b"POST", path)
    assert start.startswith(b"POST /b" + path + b" HTTP/1.1\r\nhost: 127.0.0.1:4711\r\n")
