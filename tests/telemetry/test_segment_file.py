import fcntl
import os
import resource
import stat

import pytest

from telemetry.frames import SegmentHeader
from telemetry.segment_file import SegmentFile

HEADER = SegmentHeader("pointsman journal", 1, "here", 0, "writer", 0)


def create(directory, name="one"):
    return SegmentFile.create(directory, name, header=HEADER)


def test_is_locked_and_closed_to_others_from_the_moment_it_has_its_name(tmp_path):
    segment = create(tmp_path)
    assert stat.S_IMODE(segment.path.stat().st_mode) == 0o600
    other = os.open(segment.path, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
    segment.close()
    fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
    os.close(other)


def test_leaves_nothing_behind_where_it_cannot_be_made(tmp_path):
    create(tmp_path).close()
    (tmp_path / "two.new").write_bytes(b"")
    with pytest.raises(FileExistsError):
        create(tmp_path, "two")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5, before[1]))
    try:
        with pytest.raises(OSError, match=r"large|room"):
            create(tmp_path, "three")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.seg", "two.new"]


def test_a_short_write_says_why_and_can_be_cut_back(tmp_path):
    segment = create(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (segment.size + 10, before[1]))
    try:
        error = segment.write([b"x" * 8, b"y" * 8], 16)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert isinstance(error, OSError)
    assert segment.bytes_on_disk() == segment.size + 10
    assert segment.cut_back(segment.size)
    assert segment.bytes_on_disk() == segment.size
    segment.close()


def test_notices_that_it_was_removed(tmp_path):
    segment = create(tmp_path)
    assert not segment.is_unlinked()
    segment.path.unlink()
    assert segment.is_unlinked()
    segment.close()
