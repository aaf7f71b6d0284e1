"""Room for a start on a full disk."""

import os

import pytest

from telemetry.reserve import RESERVE_BYTES, RESERVE_FILE, give_room, keep_room
from tests.support.small_disk import fill, small_disk


def test_a_start_on_a_full_disk_finds_room(tmp_path):
    with small_disk(tmp_path / "disk", 16 * 1024) as disk:
        keep_room(disk)
        assert (disk / RESERVE_FILE).stat().st_blocks * 512 >= RESERVE_BYTES
        assert not give_room(disk)  # there is room without
        fill(disk)
        with pytest.raises(OSError, match="No space"):
            (disk / "active.json").write_bytes(os.urandom(8192))
        assert give_room(disk)
        (disk / "active.json").write_bytes(os.urandom(8192))
        assert not give_room(disk)


def test_a_disk_with_little_room_keeps_it_for_records(tmp_path):
    with small_disk(tmp_path / "disk", 4 * 1024) as disk:
        keep_room(disk)
        assert not (disk / RESERVE_FILE).exists()


def test_what_is_there_stays_and_a_missing_directory_is_no_error(tmp_path):
    (tmp_path / RESERVE_FILE).write_bytes(b"x")
    keep_room(tmp_path)
    assert (tmp_path / RESERVE_FILE).read_bytes() == b"x"
    keep_room(tmp_path / "missing")
    assert not give_room(tmp_path / "missing")


def test_a_disk_that_cannot_set_room_aside_is_left_alone(tmp_path, monkeypatch):
    def fail(descriptor, start, length):
        raise OSError(95, "not supported")

    monkeypatch.setattr(os, "posix_fallocate", fail)
    keep_room(tmp_path)
    assert not (tmp_path / RESERVE_FILE).exists()
