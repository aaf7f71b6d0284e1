"""A simulated backend that is asked in Anthropic's protocol has that protocol's rules."""

from adapters.kinds import anthropic, simulated
from adapters.kinds.simulated_anthropic import ADAPTER


def test_it_is_declared_as_a_simulated_one_and_asked_as_anthropic_is() -> None:
    assert ADAPTER.read is simulated.read
    assert ADAPTER.edit is anthropic.edit
    assert ADAPTER.to_upstream is anthropic.TO_UPSTREAM
