"""The keeper's part in the workers' health: passes on what one found out, lets one probe at a time.

Workers decide by themselves and tell what changed; the keeper keeps the latest word on each
backend for workers that come later. A worker that wants to try a backend again asks for the
probe; a grant lasts GRANT_S, for its holder to renew, so that a worker without a request to try
it with, or without a life, does not keep it.
"""

from adapters.standing import Standing

GRANT_S = 1.0
BACKENDS_MAX = 10_000
"""Names are the configuration's; more than this were never in one."""


class SharedHealth:
    """What all workers know together. Moments are monotonic seconds."""

    def __init__(self) -> None:
        self._standings: dict[str, Standing] = {}
        self._probes: dict[str, tuple[int, float]] = {}

    def __repr__(self) -> str:
        return f"<SharedHealth {len(self._standings)} backends, {len(self._probes)} probes>"

    @property
    def standings(self) -> list[Standing]:
        """The latest word on every backend there was one on."""
        return list(self._standings.values())

    def note(self, told: Standing) -> bool:
        """Keep a worker's word; False where a later one is known."""
        known = self._standings.get(told.backend)
        if known is not None and told.since_s <= known.since_s:
            return False
        if known is None and len(self._standings) >= BACKENDS_MAX:
            return False
        self._standings[told.backend] = told
        self._probes.pop(told.backend, None)
        return True

    def grant(self, backend: str, worker: int, now_s: float) -> bool:
        """Whether `worker` may send the one request that tries `backend` again."""
        holder, until_s = self._probes.get(backend, (worker, 0.0))
        if holder != worker and now_s < until_s:
            return False
        if len(self._probes) >= BACKENDS_MAX:
            self._probes.clear()
        self._probes[backend] = (worker, now_s + GRANT_S)
        return True

    def forget(self) -> None:
        """A new configuration: what its workers do not hold against a backend, nobody does."""
        self._standings.clear()
        self._probes.clear()
