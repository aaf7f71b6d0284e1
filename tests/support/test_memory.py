"""A peak is seen though it is over when it is asked for."""

import os
import time

from tests.support.memory import Peaks, resident_bytes


def test_sees_what_was_held_for_a_moment() -> None:
    with Peaks([os.getpid()]) as peaks:
        held = bytearray(b"x") * (64 << 20)
        time.sleep(0.2)
        del held
    assert 60 << 20 < peaks.grown(os.getpid()) < 200 << 20


def test_a_process_that_is_gone_holds_nothing() -> None:
    assert resident_bytes(2**22 + 1) == 0
    assert resident_bytes(os.getpid()) > 1 << 20
