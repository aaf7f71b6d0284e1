"""A simulated backend that is asked in Anthropic's protocol has that protocol's rules."""

from pathlib import Path

from adapters.declared import load_backends
from adapters.kinds import anthropic
from adapters.kinds.simulated_anthropic import ADAPTER
from pointsman.decoding import Findings
from pointsman.document import parse


def test_it_is_declared_as_a_simulated_one_and_asked_as_anthropic_is() -> None:
    findings = Findings()
    text = "b: {adapter: simulated_anthropic, profile: o3-mini}"
    backends = load_backends(
        parse(text, "c.yaml"), findings=findings, directory=Path(), environment={}
    )
    assert findings.errors == []
    assert backends["b"].is_simulated
    assert backends["b"].parameters == anthropic.REASONING
    assert ADAPTER.edit is anthropic.edit
    assert ADAPTER.to_upstream is anthropic.TO_UPSTREAM
