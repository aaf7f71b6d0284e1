"""What was learned of one backend, on one task or altogether: tokens and times.

A cell takes observations as they come. Each quantity counts its own samples, for not every
answer tells everything: only streams tell when the first token came.
"""

import msgspec

from pointsman.tokens import Usage

from .sketch import WEIGHT_MAX, Decay, Mean, Sketch

HALF_LIFE_S = 600.0  # a backend's load changes within minutes
HALF_LIFE_SAMPLES = 100.0  # an effective sample of about 290: enough for a p95


class Observation(msgspec.Struct, frozen=True):
    """How one attempt went."""

    backend: str
    task: str
    prompt_bytes: int
    usage: Usage
    first_token_s: float | None
    """Since the attempt began; None where the answer was not streamed."""
    total_s: float | None
    """Also of an attempt that ran into a time limit: it would have taken longer still. None
    where somebody else ended it (a client that left)."""
    completed: bool


class Cell(msgspec.Struct, array_like=True):
    """Decayed statistics of one (backend, task), (backend, prompt size) or backend."""

    decay: Decay = msgspec.field(default_factory=Decay)
    output: Mean = msgspec.field(default_factory=Mean)
    """Output tokens per answer, reasoning included."""
    reasoning: Mean = msgspec.field(default_factory=Mean)
    tokens_per_byte: Mean = msgspec.field(default_factory=Mean)
    cached: Mean = msgspec.field(default_factory=Mean)
    """Share of prompt tokens read from the backend's cache."""
    visible: Sketch = msgspec.field(default_factory=Sketch)
    """Output tokens per answer, without reasoning."""
    total: Mean = msgspec.field(default_factory=Mean)
    first_token_s: Sketch = msgspec.field(default_factory=Sketch)
    gap_s: Sketch = msgspec.field(default_factory=Sketch)
    """Mean time between two tokens of one answer, the first token's wait left out."""
    total_s: Sketch = msgspec.field(default_factory=Sketch)

    def observe(self, observation: Observation, now_s: float) -> None:
        """Count one attempt."""
        weight = self._next_weight(now_s)
        if observation.completed:
            self._observe_usage(observation, weight)
        if observation.first_token_s is not None:
            self.first_token_s.add(observation.first_token_s, weight)
        if observation.total_s is not None:
            self.total_s.add(observation.total_s, weight)
            self.total.add(observation.total_s, weight)

    def _observe_usage(self, observation: Observation, weight: float) -> None:
        usage = observation.usage
        if usage.prompt is not None and observation.prompt_bytes > 0:
            self.tokens_per_byte.add(usage.prompt / observation.prompt_bytes, weight)
        if usage.prompt and usage.cached is not None:
            self.cached.add(min(1.0, usage.cached / usage.prompt), weight)
        if usage.completion is None:
            return
        self.output.add(usage.completion, weight)
        self.reasoning.add(usage.reasoning or 0, weight)
        visible = max(0, usage.completion - (usage.reasoning or 0))
        self.visible.add(visible, weight)
        first_s, total_s = observation.first_token_s, observation.total_s
        if visible > 1 and first_s is not None and total_s is not None:
            self.gap_s.add(max(0.0, total_s - first_s) / (visible - 1), weight)

    def _next_weight(self, now_s: float) -> float:
        weight = self.decay.next_weight(
            now_s, half_life_s=HALF_LIFE_S, half_life_samples=HALF_LIFE_SAMPLES
        )
        if weight <= WEIGHT_MAX:
            return weight
        for statistic in (
            self.output, self.reasoning, self.tokens_per_byte, self.cached, self.visible,
            self.total, self.first_token_s, self.gap_s, self.total_s,
        ):  # fmt: skip
            statistic.scale(1.0 / weight)
        self.decay.weight = 1.0
        return 1.0
