"""What `doctor` looks at. Each look is one function giving findings; none of them changes anything.

`wrong` needs mending, `note` is worth knowing, `ok` says what was looked at.
"""

import asyncio
import datetime as dt
import importlib.metadata
import importlib.util
import os
import platform
import resource
import shutil
import socket
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from pointsman import __version__
from pointsman.errors import ConfigError
from pointsman.secret import Secret
from proxy.configuration import Configuration, load_configuration
from proxy.keys import KeyFileError, load_keys
from proxy.listening import Address
from proxy.running import Running, auto_workers, read_running

Verdict = Literal["ok", "note", "wrong"]

OUR_PACKAGES = ("pointsman", "proxy", "policies", "adapters", "telemetry", "learning")
OUR_DISTRIBUTION = "pointsman"
SHOWN_LIBRARIES = ("uvloop", "httptools", "msgspec", "aiohttp")
DISK_WRONG_BYTES = 100 << 20
DISK_NOTE_BYTES = 2 << 30
DESCRIPTORS_PER_REQUEST = 2  # one to the client, one to the backend
DESCRIPTORS_OF_OUR_OWN = 64
ANSWER_S = 2.0
LOST = ("pointsman_capture_dropped_total", "pointsman_capture_parts_dropped_total")


class Finding(msgspec.Struct, frozen=True):
    """One line of the report."""

    subject: str
    verdict: Verdict
    detail: str


def examine(config: Path) -> list[Finding]:
    """Everything, in the order of the report."""
    found = [*versions(), *shadowed_packages()]
    try:
        configuration = load_configuration(config)
    except ConfigError as error:
        found.extend(Finding("configuration", "wrong", str(p)) for p in error.problems)
        return found
    found.extend(Finding("configuration", "note", str(w)) for w in configuration.warnings)
    found.append(Finding("configuration", "ok", f"policy {configuration.policy.digest}"))
    running = read_running(configuration.capture.directory)
    if running is not None and not is_alive(running.pid):
        running = None
    found.extend(keys(configuration))
    found.extend(permissions(configuration.capture.directory))
    found.extend(disk(configuration.capture.directory))
    found.extend(descriptors(configuration))
    found.extend(ports(configuration, running))
    found.extend(records(configuration.capture.directory))
    found.extend(models(configuration))
    return found


def versions() -> Iterator[Finding]:
    """Ours, Python's, and the libraries that matter when something is odd."""
    libraries = ", ".join(f"{n} {importlib.metadata.version(n)}" for n in SHOWN_LIBRARIES)
    detail = f"pointsman {__version__}, Python {platform.python_version()}, {libraries}"
    yield Finding("versions", "ok", detail)


def shadowed_packages() -> Iterator[Finding]:
    """Other distributions know our packages' names too; installed beside us they overwrite us."""
    owners = importlib.metadata.packages_distributions()
    home = Path(__file__).resolve().parents[2]
    is_clean = True
    for package in OUR_PACKAGES:
        others = sorted(set(owners.get(package, ())) - {OUR_DISTRIBUTION})
        spec = importlib.util.find_spec(package)
        origin = Path(spec.origin).resolve() if spec is not None and spec.origin else None
        if others or origin is None or origin.parent.parent != home:
            is_clean = False
            why = f"also installed by {', '.join(others)}" if others else f"comes from {origin}"
            yield Finding("packages", "wrong", f"{package!r} {why}; use an environment of its own")
    if is_clean:
        yield Finding("packages", "ok", "nothing else is installed under our names")


def keys(configuration: Configuration) -> Iterator[Finding]:
    """Whether they can be read, and by whom."""
    if configuration.keys_file is None:
        address = configuration.listen.address
        yield Finding("keys", "note", f"none asked for; only this machine reaches {address}")
        return
    try:
        count = len(load_keys(configuration.keys_file))
    except (KeyFileError, ConfigError) as error:
        yield Finding("keys", "wrong", str(error))
        return
    yield Finding("keys", "ok" if count else "note", f"{count} in {configuration.keys_file}")


def permissions(directory: Path) -> Iterator[Finding]:
    """The data are prompts and answers: nobody else should read them."""
    if not directory.exists():
        yield Finding("directory", "note", f"{directory} is not there yet; serving makes it")
        return
    found = [*_open_to_others([directory, *sorted(directory.rglob("*"))])]
    yield from found
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        yield Finding("directory", "wrong", f"{directory} cannot be written by this user")
    elif not found:
        yield Finding("directory", "ok", f"{directory} is ours alone")


def _open_to_others(paths: list[Path]) -> Iterator[Finding]:
    for path in paths:
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            continue  # the fold removes segments while we look
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            wanted = 700 if stat.S_ISDIR(mode) else 600
            detail = f"{path} is open to others ({stat.S_IMODE(mode):04o}); chmod {wanted} it"
            yield Finding("directory", "wrong", detail)


def disk(directory: Path) -> Iterator[Finding]:
    """Free space where the records go."""
    place = next(p for p in (directory, *directory.absolute().parents) if p.exists())
    free = shutil.disk_usage(place).free
    verdict: Verdict = "ok"
    if free < DISK_NOTE_BYTES:
        verdict = "wrong" if free < DISK_WRONG_BYTES else "note"
    yield Finding("disk", verdict, f"{free / (1 << 30):.1f} GiB free for {directory}")


def descriptors(configuration: Configuration) -> Iterator[Finding]:
    """Whether the limit of open files is enough for `limits: in_flight`."""
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    workers = auto_workers()
    held = max(0, (limit - DESCRIPTORS_OF_OUR_OWN) // DESCRIPTORS_PER_REQUEST) * workers
    wanted = configuration.limits.in_flight
    verdict: Verdict = "ok" if held >= wanted else "note"
    detail = f"{limit} open files a process: {workers} workers can hold about {held} requests"
    if verdict == "note":
        detail += f", limits allow {wanted}; raise `ulimit -n` or --workers"
    yield Finding("open files", verdict, detail)


def ports(configuration: Configuration, running: Running | None) -> Iterator[Finding]:
    """Free to listen on, or answered by the server that runs."""
    if running is not None:
        yield from _running_server(running, configuration.admin.token)
        return
    for name, address in (
        ("listen", configuration.listen.address),
        ("admin", configuration.admin.address),
    ):
        problem = _bind_problem(address)
        if problem is None:
            yield Finding("ports", "ok", f"{name} {address} is free")
        else:
            yield Finding("ports", "wrong", f"{name} {address}: {problem}")


def records(directory: Path) -> Iterator[Finding]:
    """Whether all that was answered was kept: what writers counted as lost, and a quick verify."""
    if not directory.exists():
        return
    from telemetry.verify import verify

    report = verify(directory, deep=False)
    if report.is_whole:
        yield Finding("records", "ok", f"{report.records} kept, none known to be missing")
    for problem in report.problems:
        yield Finding("records", "wrong", problem)


def models(configuration: Configuration) -> Iterator[Finding]:
    """Whether a backend's model will be shut down, as its server announces."""
    from proxy.shutdowns import URGENT_DAYS, ask, soon, write

    if all(backend.is_simulated for backend in configuration.backends.values()):
        return
    shutdowns, unknown = asyncio.run(ask(configuration))
    if shutdowns and configuration.capture.directory.is_dir():
        write(configuration.capture.directory, shutdowns)
    today = dt.datetime.now(dt.UTC).date()
    near = soon(shutdowns, today)
    for one in near:
        verdict: Verdict = "wrong" if one.days_left(today) <= URGENT_DAYS else "note"
        yield Finding("models", verdict, one.message(today))
    for name, why in unknown.items():
        yield Finding("models", "note", f"backend {name!r} was not heard of its models: {why}")
    if not near:
        yield Finding("models", "ok", "no shutdown announced for the next 90 days")


def is_alive(pid: int) -> bool:
    """Whether a process of this number is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def lost_records(metrics: str) -> Iterator[Finding]:
    """What the running workers counted: answered, and not kept."""
    kept = lost = 0.0
    for line in metrics.splitlines():
        name, _, value = line.rpartition(" ")
        if name.split("{")[0] == "pointsman_capture_written_total":
            kept += float(value)
        elif name.split("{")[0] in LOST:
            lost += float(value)
    if lost:
        yield Finding("records", "wrong", f"{lost:.0f} answered but not kept; is the disk full?")
    else:
        yield Finding("records", "ok", f"{kept:.0f} kept since the start, none lost")


def _running_server(running: Running, token: Secret | None) -> Iterator[Finding]:
    yield Finding("server", "ok", f"process {running.pid}, {running.workers} workers")
    try:
        _ask(running, "/readyz", token)
        yield Finding("server", "ok", f"http://{running.admin}/readyz says ready")
        yield from lost_records(_ask(running, "/metrics", token))
    except urllib.error.HTTPError as error:
        yield Finding("server", "wrong", f"{error.url} answers {error.code}")
    except OSError as error:
        yield Finding("server", "wrong", f"http://{running.admin} does not answer: {error}")


def _ask(running: Running, path: str, token: Secret | None) -> str:
    headers = {} if token is None else {"authorization": f"Bearer {token.reveal()}"}
    request = urllib.request.Request(f"http://{running.admin}{path}", headers=headers)
    with _direct.open(request, timeout=ANSWER_S) as answer:
        text: str = answer.read().decode()
        return text


# The environment's http_proxy is not for a port of this machine.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _bind_problem(address: Address) -> str | None:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            return error.strerror or str(error)
    return None
