"""`adapter: simulated_anthropic`: a simulated backend that is asked in Anthropic's protocol."""

from dataclasses import replace

from . import anthropic, simulated

ADAPTER = replace(anthropic.ADAPTER, read=simulated.read)
