"""What the data plane counts, in plain dictionaries: an update costs 0.3 us, a span 12-17.

Label values come from closed sets (names in the configuration, our own words), never from a
request, so the number of series is bounded.
"""

from collections import defaultdict

from pointsman.tokens import Usage
from telemetry.metrics import Counters
from telemetry.record import RequestRecord

from .attempt import Attempt
from .errors import DownstreamError

OVERHEAD_BUCKETS_US = (50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000)


class Counting:
    """The counters of one worker, since its start."""

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[str, tuple[tuple[str, str], ...]], float]
        self._counts = defaultdict(float)

    @property
    def counters(self) -> Counters:
        """A copy of all counts."""
        return dict(self._counts)

    def request(self, record: RequestRecord) -> None:
        """A recordable request has ended."""
        labels = (
            ("backend", record.backend or ""),
            ("route", record.route or ""),
            ("status", record.status),
        )
        self._counts["pointsman_requests_total", labels] += 1
        if record.error_type is not None:
            label = (("type", record.error_type),)
            self._counts["pointsman_errors_total", label] += 1
        if record.labels_ignored:
            self._counts["pointsman_labels_ignored_total", ()] += record.labels_ignored
        if record.overhead_us is not None:
            self._overhead(record.overhead_us)

    def attempt(self, attempt: Attempt) -> None:
        """A backend has answered or failed."""
        backend = ("backend", attempt.backend.name)
        labels = (backend, ("kind", attempt.kind), ("outcome", attempt.failure or "ok"))
        self._counts["pointsman_attempts_total", labels] += 1
        self._tokens(backend, attempt.reader.usage)
        cost_usd = attempt.cost_usd
        if cost_usd is not None:
            self._counts["pointsman_cost_usd_total", (backend,)] += cost_usd

    def unrecorded(self, error: DownstreamError) -> None:
        """A request was refused before it became recordable."""
        label = (("code", error.code or error.type),)
        self._counts["pointsman_unrecorded_total", label] += 1

    def _tokens(self, backend: tuple[str, str], usage: Usage) -> None:
        if usage.prompt is not None:
            self._counts["pointsman_tokens_total", (backend, ("type", "input"))] += usage.prompt
        if usage.completion is not None:
            label = (backend, ("type", "output"))
            self._counts["pointsman_tokens_total", label] += usage.completion

    def _overhead(self, overhead_us: int) -> None:
        name = "pointsman_overhead_seconds"
        for bound_us in OVERHEAD_BUCKETS_US:
            if overhead_us <= bound_us:
                self._counts[f"{name}_bucket", (("le", f"{bound_us / 1e6:g}"),)] += 1
        self._counts[f"{name}_bucket", (("le", "+Inf"),)] += 1
        self._counts[f"{name}_sum", ()] += overhead_us / 1e6
        self._counts[f"{name}_count", ()] += 1
