import errno
import os
from typing import NamedTuple

from telemetry.frames import Frame, Kind, keys_of, scan
from telemetry.segment_writer import SegmentWriter


class Content(NamedTuple):
    kind: Kind
    payload: bytes


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


def make_writer(directory, clock, **options):
    return SegmentWriter(directory, node="here", worker=0, clock_s=clock, **options)


def contents(count, size=50):
    return [Content(Kind.REQUEST, bytes([n % 250]) * size) for n in range(count)]


def payloads(directory):
    found = []
    for path in sorted(directory.glob("*.seg")):
        data = path.read_bytes()
        result = scan(
            data, keys_of(path.name), base=0, next_sequence=0, is_all=True, is_sealed=True
        )
        assert all(isinstance(item, Frame) for item in result.found)
        found += [bytes(item.payload) for item in result.found if item.kind == Kind.REQUEST]
    return found


def refuse(monkeypatch, number, *, after_bytes=0):
    """Let the next writev put `after_bytes` on the disk, then fail with errno `number`."""
    real = os.writev

    def writev(descriptor, buffers):
        monkeypatch.setattr(os, "writev", real)
        os.write(descriptor, b"".join(buffers)[:after_bytes])
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "writev", writev)


def test_a_full_disk_keeps_the_whole_frames_cuts_the_torn_one_and_rests(tmp_path, monkeypatch):
    clock = Clock()
    writer = make_writer(tmp_path, clock)
    frames = contents(4)
    writer.open()
    refuse(monkeypatch, errno.ENOSPC, after_bytes=2 * 67 + 30)
    assert writer.write(frames) == 2
    assert writer.is_resting
    assert writer.write(frames[2:]) == 0
    clock.now_s += 0.2
    assert writer.write(frames[2:]) == 2
    assert not writer.is_resting
    assert payloads(tmp_path) == [frame.payload for frame in frames]
    assert writer.segments == 1


def test_any_other_error_leaves_the_segment_and_writes_the_rest_to_a_new_one(tmp_path, monkeypatch):
    writer = make_writer(tmp_path, Clock())
    frames = contents(4)
    refuse(monkeypatch, errno.EIO, after_bytes=67 + 10)
    writer.open()
    assert writer.write(frames) == 4
    assert (writer.segments, writer.errors) == (2, 1)
    assert payloads(tmp_path) == [frame.payload for frame in frames]


def test_a_torn_frame_that_cannot_be_cut_stays_at_the_end_of_a_left_segment(tmp_path, monkeypatch):
    def no(*_):
        raise OSError(errno.EIO, "no")

    writer = make_writer(tmp_path, Clock())
    writer.open()
    refuse(monkeypatch, errno.ENOSPC, after_bytes=30)
    monkeypatch.setattr(os, "ftruncate", no)
    assert writer.write(contents(2)) == 2
    assert len(writer.sealed) == 1
    torn = writer.sealed[0].path.read_bytes()
    result = scan(torn, keys_of(writer.sealed[0].path.name), base=0, next_sequence=0,
                  is_all=True, is_sealed=True)  # fmt: skip
    assert [getattr(item, "reason", "frame") for item in result.found] == ["frame", "torn tail"]


def test_a_short_write_is_continued(tmp_path, monkeypatch):
    real = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, buffers: os.write(fd, b"".join(buffers)[:20]))
    writer = make_writer(tmp_path, Clock())
    frames = contents(3)
    assert writer.write(frames) == 3
    monkeypatch.setattr(os, "writev", real)
    assert payloads(tmp_path) == [frame.payload for frame in frames]
    assert writer.errors == 0


def test_is_never_without_a_segment_between_two(tmp_path):
    writer = make_writer(tmp_path, Clock(), segment_bytes_max=500)
    writer.write(contents(10))
    assert writer.live is not None
    assert len(writer.sealed) == 1
    assert writer.live.path.exists()


def test_a_directory_that_comes_back_is_used_again(tmp_path):
    clock = Clock()
    blocked = tmp_path / "journal"
    blocked.write_text("in the way")
    writer = make_writer(blocked, clock)
    assert writer.write(contents(1)) == 0
    assert writer.last_error is not None
    blocked.unlink()
    clock.now_s += 0.2
    assert writer.write(contents(1)) == 1


def test_says_in_what_state_it_is(tmp_path):
    assert repr(make_writer(tmp_path, Clock())) == "<SegmentWriter live=None sealed=0 error=None>"
