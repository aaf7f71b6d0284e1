"""Starts what a run measures: the C upstream, nginx in front of it, pointsman in front of it."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template

import msgspec

from . import processes
from .programs import Programs

HERE = Path(__file__).parent
START_TIMEOUT_S = 20.0
POINTSMAN = Path(sys.executable).parent / "pointsman"


class Server(msgspec.Struct, frozen=True):
    """Something that answers chat requests; `pid` is the root of its process tree."""

    name: str
    pid: int
    port: int
    stream_port: int
    config: Path | None = None
    ready_s: float = 0.0  # from spawn to the ready line


@contextmanager
def upstream(programs: Programs, *, directory: Path, core: int | None) -> Iterator[Server]:
    """The C upstream on a port of its own choice."""
    output = directory / "upstream.out"
    command = processes.pinned([str(programs.upstream)], core)
    with processes.running(command, output=output) as child:
        line = processes.wait_for_line(
            child, output, starts="upstream listening", timeout_s=START_TIMEOUT_S
        )
        port = int(line.rpartition("=")[2])
        yield Server(name="direct", pid=child.pid, port=port, stream_port=port)


def expected_body(programs: Programs) -> bytes:
    """The upstream's completion, "#" where sequence numbers go."""
    return subprocess.run(
        [str(programs.upstream), "--print-body"], capture_output=True, check=True
    ).stdout


@contextmanager
def nginx(
    binary: Path, *, upstream_port: int, directory: Path, core: int | None
) -> Iterator[Server]:
    """nginx with one worker. Raises RuntimeError with its words when it does not start."""
    port, stream_port = free_port(), free_port()
    config = directory / "nginx.conf"
    config.write_text(
        Template((HERE / "nginx.conf.template").read_text()).substitute(
            user_line="user root;" if os.geteuid() == 0 else "",
            directory=directory,
            upstream_port=upstream_port,
            port=port,
            stream_port=stream_port,
        )
    )
    output = directory / "nginx.out"
    command = [str(binary), "-p", str(directory), "-e", "stderr", "-c", str(config)]
    with processes.running(processes.pinned(command, core), output=output) as child:
        if not processes.poll(lambda: _accepts(port), timeout_s=START_TIMEOUT_S, while_alive=child):
            raise RuntimeError(f"nginx does not answer: {output.read_text().strip()[-800:]}")
        yield Server(name="nginx", pid=child.pid, port=port, stream_port=stream_port)


@contextmanager
def pointsman(
    binary: Path,
    *,
    upstream_port: int,
    directory: Path,
    core: int | None,
    durability: str = "process",
) -> Iterator[Server]:
    """`pointsman serve --workers 1` on a fresh data directory.

    Raises RuntimeError with the end of its output when no ready line comes.
    """
    directory.mkdir(parents=True)
    config = directory / "config.yaml"
    config.write_text(
        Template((HERE / "pointsman.yaml.template").read_text()).substitute(
            directory=directory, upstream_port=upstream_port, durability=durability
        )
    )
    output = directory / "pointsman.out"
    command = [str(binary), "serve", "--config", str(config), "--workers", "1"]
    spawned = time.perf_counter()
    with processes.running(
        processes.pinned(command, core), output=output, directory=directory
    ) as child:
        line = processes.wait_for_line(
            child, output, starts="pointsman ready", timeout_s=START_TIMEOUT_S
        )
        ready_s = time.perf_counter() - spawned
        port = port_in_ready_line(line)
        yield Server(
            name="pointsman",
            pid=child.pid,
            port=port,
            stream_port=port,
            config=config,
            ready_s=ready_s,
        )


def port_in_ready_line(line: str) -> int:
    """The data port; raises RuntimeError when the line has none."""
    found = re.search(r"listen=https?://127\.0\.0\.1:(\d+)", line)
    if found is None:
        raise RuntimeError(f"no port in the ready line: {line}")
    return int(found[1])


def free_port() -> int:
    """A port nobody listens on just now, for programs that cannot choose one themselves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _accepts(port: int) -> bool | None:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return None
    return True
