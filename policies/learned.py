"""The learned state: what every backend cost and took, kept small and forgetful.

One writer (the keeper, or a worker of its own) observes; decisions read. The moment is an
argument in seconds since the epoch, for the state outlives the process. A prediction is kept
until enough has been learned to change it.
"""

from hashlib import blake2b

import msgspec

from .cell import Cell, Observation, sample_of
from .cell_map import CellMap
from .facts import BackendFacts
from .inquiry import Cells, Inquiry, size_bucket
from .load import Loads, observe_load, stretch
from .prediction import Prediction, predict

__all__ = ["Learned", "Observation", "Prediction"]

TASKS_MAX = 1000
OTHER_TASK = "other"
BACKENDS_MAX = 1000
"""Configurations come and go; the state is not to grow with every name ever used."""
PREDICTIONS_MAX = 2048
"""Per backend. Clients choose tasks and token limits; the memory for answers is ours."""
REFRESH_SHARE = 0.05
REFRESH_SAMPLES_MAX = 64
REFRESH_S = 1.0
FORMAT = 1


class _StoredBackend(msgspec.Struct, array_like=True):
    all: Cell
    sizes: dict[int, msgspec.Raw]
    tasks: dict[str, msgspec.Raw]
    loads: Loads = {}


class _StoredState(msgspec.Struct, array_like=True):
    format: int
    version: int
    at_s: float
    tasks: list[str]
    backends: dict[str, _StoredBackend]


class _Backend:
    """What was learned of one backend: altogether, by prompt size, by task, by load."""

    __slots__ = ("all", "loads", "sizes", "tasks")

    def __init__(self, stored: _StoredBackend | None = None) -> None:
        self.all = stored.all if stored is not None else Cell()
        self.sizes: CellMap[int] = CellMap(stored.sizes if stored is not None else None)
        self.tasks: CellMap[str] = CellMap(stored.tasks if stored is not None else None)
        self.loads: Loads = stored.loads if stored is not None else {}

    def written(self) -> tuple[object, ...]:
        """As `_StoredBackend` reads it."""
        return self.all, self.sizes.written(), self.tasks.written(), self.loads


class _Kept:
    """Predictions of one backend, and when they are too old to keep."""

    __slots__ = ("predictions", "refreshed_s", "since")

    def __init__(self) -> None:
        self.predictions: dict[Inquiry, Prediction] = {}
        self.since = 0
        self.refreshed_s = 0.0

    def count(self, samples: int, now_s: float) -> None:
        """One more sample; drop the predictions once it is worth it."""
        self.since += 1
        due = min(1 + int(samples * REFRESH_SHARE), REFRESH_SAMPLES_MAX)
        if self.since >= due or now_s - self.refreshed_s >= REFRESH_S:
            self.predictions.clear()
            self.since = 0
            self.refreshed_s = now_s


class Learned:
    """What was learned of all backends. See the module."""

    __slots__ = ("_backends", "_kept", "_tasks", "choices", "name", "now_s", "version")

    def __init__(self) -> None:
        self.version = 0
        """How many observations are in it."""
        self.name = "v0"
        """What a record calls the state it was decided with."""
        self.now_s = 0.0
        """The latest moment it knows of."""
        self._backends: dict[str, _Backend] = {}
        self._tasks: dict[str, None] = {}
        self._kept: dict[str, _Kept] = {}
        self.choices: dict[object, object] = {}
        """What was decided on this state, kept by `decide`; empty again after a sample."""

    def __repr__(self) -> str:
        return f"<Learned v{self.version}: {len(self._backends)} backends>"

    def observe(self, observation: Observation, now_s: float) -> None:
        """Count one attempt that ended at `now_s`."""
        backend = self._backend(observation.backend)
        if backend is None:
            return
        self.version += 1
        self.name = f"v{self.version}"
        if now_s > self.now_s:
            self.now_s = now_s
        if self.choices:
            self.choices.clear()
        sample = sample_of(observation)
        backend.all.observe(sample, now_s)
        backend.sizes.take(size_bucket(observation.prompt_bytes)).observe(sample, now_s)
        backend.tasks.take(self._task_for(observation.task)).observe(sample, now_s)
        if observation.served_at_once > 0:
            observe_load(backend.loads, observation.served_at_once, sample, now_s)
        kept = self._kept.get(observation.backend)
        if kept is not None:
            kept.count(backend.all.total_s.count, now_s)

    def predict(self, facts: BackendFacts, inquiry: Inquiry) -> Prediction:
        """What `facts`' backend will cost and take; kept, so usually one look-up."""
        kept = self._kept.get(facts.name)
        if kept is None:
            kept = self._kept[facts.name] = _Kept()
        found = kept.predictions.get(inquiry)
        if found is None:
            if len(kept.predictions) >= PREDICTIONS_MAX:
                kept.predictions.clear()
            found = predict(facts, inquiry, self.cells_of(facts.name, inquiry))
            kept.predictions[inquiry] = found
        return found

    def cells_of(self, backend: str, inquiry: Inquiry) -> Cells:
        """What bears on an inquiry, at its load."""
        cells = self.cells(backend, inquiry.task, inquiry.size)
        state, clock = self._backends.get(backend), inquiry.question.of
        if not inquiry.load or state is None:
            return cells
        usual = state.all.first_token_s if clock == "first_token" else state.all.total_s
        return cells._replace(stretch=stretch(state.loads, clock, inquiry.load, usual))

    def cells(self, backend: str, task: str, size: int) -> Cells:
        """What was learned that bears on one kind of request."""
        state = self._backends.get(backend)
        if state is None:
            return Cells()
        is_own = task in self._tasks or len(self._tasks) < TASKS_MAX
        counted_as = task if is_own else OTHER_TASK
        return Cells(state.tasks.get(counted_as), state.sizes.get(size), state.all)

    def silent_s(self, backend: str) -> float:
        """How long nothing was heard of a backend, while others were; 0 where nothing ever was."""
        state = self._backends.get(backend)
        at_s = None if state is None else state.all.decay.at_s
        return 0.0 if at_s is None else self.now_s - at_s

    def summary(self) -> dict[str, dict[str, float | int | None]]:
        """Per backend, what an operator asks first; for the admin's `/state`."""
        return {name: _summary(state.all) for name, state in sorted(self._backends.items())}

    def to_bytes(self, now_s: float) -> bytes:
        """The whole state as of `now_s`; `from_bytes` gives one that predicts the same."""
        state = (FORMAT, self.version, now_s, list(self._tasks), self._written())
        return msgspec.msgpack.encode(state)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Learned":
        """Read what `to_bytes` wrote. Raises ValueError where it is something else."""
        try:
            state = msgspec.msgpack.decode(data, type=_StoredState)
        except msgspec.DecodeError as error:
            raise ValueError(f"not a learned state: {error}") from None
        if state.format != FORMAT:
            raise ValueError(f"learned state of format {state.format}; this program reads {FORMAT}")
        learned = cls()
        learned.version = state.version
        learned.name = f"v{state.version}"
        learned.now_s = state.at_s
        learned._tasks = dict.fromkeys(state.tasks)
        learned._backends = {name: _Backend(stored) for name, stored in state.backends.items()}
        return learned

    def digest(self) -> str:
        """Hex digest of all that was learned; as costly as writing it out."""
        return blake2b(msgspec.msgpack.encode(self._written()), digest_size=8).hexdigest()

    def _written(self) -> dict[str, tuple[object, ...]]:
        return {name: backend.written() for name, backend in self._backends.items()}

    def _backend(self, name: str) -> _Backend | None:
        found = self._backends.get(name)
        if found is None and len(self._backends) < BACKENDS_MAX:
            found = self._backends[name] = _Backend()
        return found

    def _task_for(self, task: str) -> str:
        """The task a sample counts for: its own, or `other` once there are too many."""
        if task in self._tasks:
            return task
        if len(self._tasks) >= TASKS_MAX:
            return OTHER_TASK
        self._tasks[task] = None
        return task


def _summary(cell: Cell) -> dict[str, float | int | None]:
    return {
        "samples": cell.total_s.count,
        "output_tokens": cell.output.value,
        "reasoning_tokens": cell.reasoning.value,
        "first_token_p50_s": cell.first_token_s.quantile(0.5),
        "first_token_p95_s": cell.first_token_s.quantile(0.95),
        "total_p50_s": cell.total_s.quantile(0.5),
        "total_p95_s": cell.total_s.quantile(0.95),
    }
