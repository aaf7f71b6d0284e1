"""What was learned of one backend, on one task or altogether: tokens and times.

A cell takes observations as they come. Each quantity counts its own samples, for not every
answer tells everything: only streams tell when the first token came.
"""

import msgspec

from pointsman.tokens import Usage

from .sketch import WEIGHT_MAX, Decay, Mean, Sketch, bucket_of

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
    served_at_once: int = 0
    """Requests the backend was serving when it began, itself included; 0: not known."""


class Sample(msgspec.Struct, frozen=True):
    """What one observation tells, worked out once for the cells it goes into.

    `None` is not told. Sketched quantities come as their bucket.
    """

    output: int | None
    reasoning: int
    tokens_per_byte: float | None
    cached: float | None
    total_s: float | None
    visible_bucket: int | None
    first_token_bucket: int | None
    gap_bucket: int | None
    total_bucket: int | None


def sample_of(observation: Observation) -> Sample:
    """Work out an observation. Tokens count only where the answer was whole."""
    usage = observation.usage if observation.completed else Usage()
    first_s, total_s = observation.first_token_s, observation.total_s
    visible = None
    if usage.completion is not None:
        visible = max(0, usage.completion - (usage.reasoning or 0))
    per_byte = cached = None
    if usage.prompt is not None:
        if observation.prompt_bytes > 0:
            per_byte = usage.prompt / observation.prompt_bytes
        if usage.cached is not None and usage.prompt > 0:
            cached = min(1.0, usage.cached / usage.prompt)
    return Sample(
        usage.completion,
        usage.reasoning or 0,
        per_byte,
        cached,
        total_s,
        None if visible is None else bucket_of(visible),
        None if first_s is None else bucket_of(first_s),
        _gap_bucket(first_s, total_s, visible),
        None if total_s is None else bucket_of(total_s),
    )


def _gap_bucket(first_s: float | None, total_s: float | None, visible: int | None) -> int | None:
    """Of the mean time between two tokens, the first token's wait left out."""
    if first_s is None or total_s is None or visible is None or visible < 2:
        return None
    return bucket_of(max(0.0, total_s - first_s) / (visible - 1))


class Cell(msgspec.Struct, array_like=True):
    """Decayed statistics of one (backend, task), (backend, prompt size) or backend."""

    decay: Decay = msgspec.field(default_factory=Decay)
    output: Mean = msgspec.field(default_factory=Mean)
    """Output tokens per answer, reasoning included."""
    reasoning: Mean = msgspec.field(default_factory=Mean)
    tokens_per_byte: Mean = msgspec.field(default_factory=Mean)
    cached: Mean = msgspec.field(default_factory=Mean)
    """Share of prompt tokens read from the backend's cache."""
    total: Mean = msgspec.field(default_factory=Mean)
    """Seconds a whole answer took."""
    visible: Sketch = msgspec.field(default_factory=Sketch)
    """Output tokens per answer, without reasoning."""
    first_token_s: Sketch = msgspec.field(default_factory=Sketch)
    gap_s: Sketch = msgspec.field(default_factory=Sketch)
    total_s: Sketch = msgspec.field(default_factory=Sketch)

    def observe(self, sample: Sample, now_s: float) -> None:
        """Count one attempt that ended at `now_s`."""
        weight = self._next_weight(now_s)
        if sample.output is not None:
            self.output.add(sample.output, weight)
            self.reasoning.add(sample.reasoning, weight)
        if sample.tokens_per_byte is not None:
            self.tokens_per_byte.add(sample.tokens_per_byte, weight)
        if sample.cached is not None:
            self.cached.add(sample.cached, weight)
        if sample.visible_bucket is not None:
            self.visible.add_bucket(sample.visible_bucket, weight)
        if sample.first_token_bucket is not None:
            self.first_token_s.add_bucket(sample.first_token_bucket, weight)
        if sample.gap_bucket is not None:
            self.gap_s.add_bucket(sample.gap_bucket, weight)
        if sample.total_s is not None and sample.total_bucket is not None:
            self.total.add(sample.total_s, weight)
            self.total_s.add_bucket(sample.total_bucket, weight)

    def _next_weight(self, now_s: float) -> float:
        weight = self.decay.next_weight(
            now_s, half_life_s=HALF_LIFE_S, half_life_samples=HALF_LIFE_SAMPLES
        )
        if weight <= WEIGHT_MAX:
            return weight
        for statistic in (
            self.output, self.reasoning, self.tokens_per_byte, self.cached, self.total,
            self.visible, self.first_token_s, self.gap_s, self.total_s,
        ):  # fmt: skip
            statistic.scale(1.0 / weight)
        self.decay.weight = 1.0
        return 1.0
