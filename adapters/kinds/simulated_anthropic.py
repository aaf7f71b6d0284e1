"""`adapter: simulated_anthropic`: a simulated backend that is asked in Anthropic's protocol."""

from dataclasses import replace

from adapters.backend import Backend
from adapters.declared import Declared

from . import anthropic, simulated


def read(declared: Declared) -> Backend:
    """As a simulated backend is declared, with this protocol's rules for models that think."""
    return simulated.read_played(declared, reasoning=anthropic.REASONING)


ADAPTER = replace(anthropic.ADAPTER, read=read)
