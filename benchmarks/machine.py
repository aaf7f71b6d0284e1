"""What stands beside every figure: the machine, the versions, and what else ran meanwhile."""

import importlib.metadata
import os
import platform
import statistics
import subprocess
import time
from pathlib import Path

import msgspec

from . import processes
from .programs import MissingProgram, find_compiler, nginx_version

FSYNCS = 50
LIBRARIES = ("uvloop", "httptools", "msgspec")
NEIGHBOURS_SHOWN = 5
NEIGHBOUR_SHARE_MIN = 0.01  # of one core; less does not disturb
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Machine(msgspec.Struct, frozen=True):
    """Facts that do not change during a run."""

    processor: str
    cores: int
    kernel: str
    python: str
    libraries: dict[str, str]
    nginx: str | None
    compiler: str
    fsync_ms: float  # median of 4 KB writes where the captures go

    def lines(self) -> list[str]:
        """For people."""
        libraries = ", ".join(f"{name} {version}" for name, version in self.libraries.items())
        return [
            f"{self.processor}, {self.cores} cores, Linux {self.kernel}",
            f"Python {self.python}, {libraries}, {self.nginx or 'no nginx'}, {self.compiler}",
            f"fsync of 4 KB in the data directory: {self.fsync_ms:.2f} ms (median of {FSYNCS})",
        ]


class Clock(msgspec.Struct, frozen=True):
    """A reading of what all processes have used, to compare two of."""

    at_s: float
    ticks: dict[int, int]
    names: dict[int, str]
    steal_ticks: int
    busy_ticks: int  # all cores, user and system
    reaped_ticks: int  # this process and its children that have ended


class Surroundings(msgspec.Struct, frozen=True):
    """What ran beside the benchmark; shares are of one core."""

    neighbours: dict[str, float]  # those that live still, by name
    others: float  # all that is not ours, those that came and went included
    stolen: float
    load_average: float

    def line(self) -> str:
        """For people."""
        busy = ", ".join(f"{name} {share:.0%}" for name, share in self.neighbours.items())
        return (
            f"others used {self.others:.0%} of a core ({busy or 'nobody above 1 %'}); "
            f"stolen by the host {self.stolen:.1%}; load average {self.load_average:.2f}"
        )


def describe(*, nginx: Path | None, data_directory: Path) -> Machine:
    """Reads the machine's facts; times a few fsyncs."""
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 0,
        kernel=platform.release(),
        python=platform.python_version(),
        libraries={name: _version(name) for name in ("pointsman", *LIBRARIES)},
        nginx=_nginx(nginx),
        compiler=_compiler(),
        fsync_ms=time_fsync_ms(data_directory),
    )


def time_fsync_ms(directory: Path) -> float:
    """The median time of a 4 KB write and fsync in a directory."""
    path = directory / "fsync.probe"
    spans = []
    with path.open("wb", buffering=0) as file:
        for _ in range(FSYNCS):
            start = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            spans.append(time.perf_counter() - start)
    path.unlink()
    return statistics.median(spans) * 1e3


def read_clock() -> Clock:
    """What every process has used up to now."""
    ticks, names = {}, {}
    for pid in processes.parents():
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        head, _, rest = text.rpartition(")")
        fields = rest.split()
        names[pid] = head.partition("(")[2]
        ticks[pid] = int(fields[11]) + int(fields[12])
    total = [int(field) for field in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    user, nice, system, _idle, _iowait, interrupt, soft_interrupt, steal = total
    own = os.times()
    reaped_s = own.user + own.system + own.children_user + own.children_system
    return Clock(
        at_s=time.monotonic(),
        ticks=ticks,
        names=names,
        steal_ticks=steal,
        busy_ticks=user + nice + system + interrupt + soft_interrupt,
        reaped_ticks=round(reaped_s * TICKS_PER_S),
    )


def surroundings(before: Clock, *, ours: set[int]) -> Surroundings:
    """What ran since `before`; `ours` are the living processes of the run."""
    after = read_clock()
    span_s = max(0.001, after.at_s - before.at_s)
    used = {pid: ticks - before.ticks.get(pid, 0) for pid, ticks in after.ticks.items()}
    own_ticks = after.reaped_ticks - before.reaped_ticks
    own_ticks += sum(ticks for pid, ticks in used.items() if pid in ours and pid != os.getpid())
    shares: dict[str, float] = {}
    for pid in used.keys() - ours:
        name = after.names[pid]
        shares[name] = shares.get(name, 0.0) + used[pid] / TICKS_PER_S / span_s
    busiest = sorted(shares.items(), key=lambda item: -item[1])[:NEIGHBOURS_SHOWN]
    others_ticks = after.busy_ticks - before.busy_ticks - own_ticks
    return Surroundings(
        neighbours={name: share for name, share in busiest if share >= NEIGHBOUR_SHARE_MIN},
        others=max(0.0, others_ticks / TICKS_PER_S / span_s),
        stolen=(after.steal_ticks - before.steal_ticks) / TICKS_PER_S / span_s,
        load_average=os.getloadavg()[0],
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _nginx(binary: Path | None) -> str | None:
    try:
        return nginx_version(binary) if binary else None
    except MissingProgram:
        return None


def _compiler() -> str:
    compiler = find_compiler()
    if compiler is None:
        return "no C compiler"
    shown = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    return shown.stdout.partition("\n")[0]
