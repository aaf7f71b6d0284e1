"""The C library's resolver believes the name server, in a process that was led to it."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.name_server import NameServer

LOOK_UP = "import socket; print(socket.getaddrinfo('one.test', 80, type=1)[0][4][0])"


def look_up(names: NameServer, directory: Path) -> tuple[str, float]:
    """What a process of its own finds, or the last line of its complaint; and how long it took."""
    started_s = time.monotonic()
    done = subprocess.run(
        [*names.led_here(directory), sys.executable, "-c", LOOK_UP],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return (done.stdout or done.stderr).strip().splitlines()[-1], time.monotonic() - started_s


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("127.0.0.9", "127.0.0.9"),
        ("NXDOMAIN", "Name or service not known"),
        ("SERVFAIL", "Temporary failure in name resolution"),
    ],
)
def test_says_what_it_is_told(tmp_path: Path, said: str, found: str) -> None:
    with NameServer({"one.test": said}) as names:
        assert found in look_up(names, tmp_path)[0]
        assert {name for _, name in names.asked} >= {"one.test"}


def test_says_it_late_and_anew(tmp_path: Path) -> None:
    with NameServer({"one.test": "127.0.0.1"}) as names:
        names.delay_s = 0.5
        found, span_s = look_up(names, tmp_path)
        assert (found, span_s > 0.5) == ("127.0.0.1", True)
        names.delay_s = 0.0
        names.answers["one.test"] = "127.0.0.2"
        assert look_up(names, tmp_path)[0] == "127.0.0.2"


def test_no_other_process_is_led_there(tmp_path: Path) -> None:
    before = Path("/etc/resolv.conf").read_text()
    with NameServer({"one.test": "127.0.0.1"}) as names:
        look_up(names, tmp_path)
    assert Path("/etc/resolv.conf").read_text() == before
