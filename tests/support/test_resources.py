"""A peak is seen though it is over when it is asked for."""

import os
import subprocess
import sys
import time

from tests.support.resources import Peaks, processor_s, resident_bytes, wait_until_calm

HOLD = """
input()
held = bytearray(b"x") * (64 << 20)
time.sleep(0.5)
del held
print("let go", flush=True)
input()
"""


def test_sees_what_was_held_for_a_moment() -> None:
    """By a process that does nothing else: what this one lets go of would hide it."""
    command = [sys.executable, "-c", f"import time\nprint('here', flush=True){HOLD}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        with Peaks([process.pid]) as peaks:
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"let go\n"
        process.kill()
    assert 60 << 20 < peaks.grown(process.pid) < 80 << 20


def test_a_process_that_is_gone_holds_nothing() -> None:
    assert resident_bytes(2**22 + 1) == 0
    assert processor_s(2**22 + 1) == 0.0
    assert resident_bytes(os.getpid()) > 1 << 20


def test_waits_for_a_busy_process_to_calm_down() -> None:
    spin = "end = time.monotonic() + 1.0\nwhile time.monotonic() < end: pass\n"
    busy = f"import time\n{spin}time.sleep(9)"
    with subprocess.Popen([sys.executable, "-c", busy]) as process:
        started_s = time.monotonic()
        wait_until_calm([process.pid])
        span_s = time.monotonic() - started_s
        process.kill()
    assert 0.9 < span_s < 8.0
