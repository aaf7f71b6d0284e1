"""What the data plane counts: plain numbers under keys of closed sets, cheap to raise.

A count here costs a quarter of a microsecond; a span would cost 12-17 of them. Label values
are names of the configuration and words of our own, never taken from a request, so the number
of series is bounded. `counters` turns them into Prometheus' form when somebody asks.
"""

from bisect import bisect_left
from collections import defaultdict
from typing import Final

from telemetry.metrics import Counters
from telemetry.record import RequestRecord

from .attempt import Attempt
from .errors import DownstreamError

OVERHEAD_BOUNDS_US: Final = (50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000)


class _Served:
    """One backend's part."""

    __slots__ = ("cost_usd", "input_tokens", "output_tokens")

    def __init__(self) -> None:
        self.cost_usd = 0.0
        self.input_tokens = 0
        self.output_tokens = 0


class Counting:
    """The counters of one worker, since its start."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str, str], int] = {}
        self._errors: defaultdict[str, int] = defaultdict(int)
        self._attempts: dict[tuple[str, str, str], int] = {}
        self._unrecorded: defaultdict[str, int] = defaultdict(int)
        self._served: defaultdict[str, _Served] = defaultdict(_Served)
        self._overhead = [0] * (len(OVERHEAD_BOUNDS_US) + 1)
        self._overhead_us = 0
        self._labels_ignored = 0

    def request(self, record: RequestRecord) -> None:
        """A recordable request has ended."""
        key = (record.backend or "", record.route or "", record.status)
        self._requests[key] = self._requests.get(key, 0) + 1
        if record.error_type is not None:
            self._errors[record.error_type] += 1
        if record.labels_ignored:
            self._labels_ignored += record.labels_ignored
        overhead_us = record.overhead_us
        if overhead_us is not None:
            self._overhead[bisect_left(OVERHEAD_BOUNDS_US, overhead_us)] += 1
            self._overhead_us += overhead_us

    def attempt(self, attempt: Attempt) -> None:
        """A backend has answered or failed."""
        name = attempt.backend.name
        key = (name, attempt.kind, attempt.failure or "ok")
        self._attempts[key] = self._attempts.get(key, 0) + 1
        served, usage = self._served[name], attempt.reader.usage
        served.input_tokens += usage.prompt or 0
        served.output_tokens += usage.completion or 0
        served.cost_usd += attempt.cost_usd or 0.0

    def unrecorded(self, error: DownstreamError) -> None:
        """A request was refused before it became recordable."""
        self._unrecorded[error.code or error.type] += 1

    @property
    def counters(self) -> Counters:
        """All counts in Prometheus' names."""
        found: Counters = {}
        for (backend, route, status), count in self._requests.items():
            labels = (("backend", backend), ("route", route), ("status", status))
            found["pointsman_requests_total", labels] = count
        for (backend, kind, outcome), count in self._attempts.items():
            labels = (("backend", backend), ("kind", kind), ("outcome", outcome))
            found["pointsman_attempts_total", labels] = count
        for error_type, count in self._errors.items():
            found["pointsman_errors_total", (("type", error_type),)] = count
        for code, count in self._unrecorded.items():
            found["pointsman_unrecorded_total", (("code", code),)] = count
        for backend, served in self._served.items():
            self._add_served(found, ("backend", backend), served)
        found["pointsman_labels_ignored_total", ()] = self._labels_ignored
        self._add_overhead(found)
        return found

    def _add_served(self, found: Counters, name: tuple[str, str], served: _Served) -> None:
        found["pointsman_tokens_total", (name, ("type", "input"))] = served.input_tokens
        found["pointsman_tokens_total", (name, ("type", "output"))] = served.output_tokens
        found["pointsman_cost_usd_total", (name,)] = served.cost_usd

    def _add_overhead(self, found: Counters) -> None:
        name, total = "pointsman_overhead_seconds", 0
        for bound_us, count in zip(OVERHEAD_BOUNDS_US, self._overhead, strict=False):
            total += count
            found[f"{name}_bucket", (("le", f"{bound_us / 1e6:g}"),)] = total
        total += self._overhead[-1]
        found[f"{name}_bucket", (("le", "+Inf"),)] = total
        found[f"{name}_sum", ()] = self._overhead_us / 1e6
        found[f"{name}_count", ()] = total
