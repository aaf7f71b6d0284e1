import asyncio

import pytest

from telemetry.frames import Damage, Frame, Kind
from telemetry.ids import milliseconds_of
from telemetry.journal import Journal
from telemetry.segments import (
    SegmentReader,
    created_us_of,
    describe,
    list_segments,
    worker_of,
)
from tests.support.records import make_record, write_journal


def only_segment(directory):
    [path] = list_segments(directory / "journal")
    return path


def test_lists_segments_oldest_first_and_nothing_else(tmp_path):
    assert list_segments(tmp_path / "journal") == []
    for worker in (2, 0, 1):
        write_journal(tmp_path, [], worker=worker)
    (tmp_path / "journal" / "note.txt").write_text("no segment")
    found = list_segments(tmp_path / "journal")
    assert [worker_of(path) for path in found] == [2, 0, 1]
    assert created_us_of(found[0]) == (milliseconds_of(found[0].name[:36]) or 0) * 1000


def test_a_name_that_tells_nothing_tells_nothing(tmp_path):
    assert worker_of(tmp_path / "odd.seg") == -1
    assert created_us_of(tmp_path / "odd.seg") == 0


async def test_is_sealed_only_once_its_writer_has_left(tmp_path):
    journal = Journal(tmp_path, node="here", worker=3, loop=asyncio.get_running_loop())
    with SegmentReader(only_segment(tmp_path)) as reader:
        assert not reader.is_sealed()
        journal.close()
        assert reader.is_sealed()


def test_the_header_says_who_wrote_it(tmp_path):
    write_journal(tmp_path, [], worker=3)
    with SegmentReader(only_segment(tmp_path)) as reader:
        header = reader.header()
    assert header is not None
    assert (header.node, header.worker, header.version) == ("here", 3, 1)


def test_a_damaged_header_is_none(tmp_path):
    write_journal(tmp_path, [])
    path = only_segment(tmp_path)
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    with SegmentReader(path) as reader:
        assert reader.header() is None


@pytest.mark.parametrize("read_bytes", [1, 100, 1000, 1 << 20])
def test_reads_the_same_frames_whatever_it_reads_at_once(tmp_path, read_bytes):
    records = [make_record(request=bytes(size)) for size in (0, 10, 5000, 10, 0)]
    write_journal(tmp_path, records)
    found = []
    with SegmentReader(only_segment(tmp_path)) as reader:
        position = sequence = 0
        while position < reader.size():
            scan = reader.read(
                position, sequence, size=reader.size(), is_sealed=True, read_bytes=read_bytes
            )
            found += scan.found
            position = scan.consumed
            sequence += len(scan.found)
    assert [type(item) for item in found] == [Frame] * 6
    assert [item.kind for item in found] == [Kind.HEADER] + [Kind.REQUEST] * 5


def test_damage_is_described_for_people():
    assert describe(Damage(10, 30, "corrupt", 2), "a.seg") == (
        "a.seg: corrupt at byte 10 to 30, 2 lost"
    )
    assert describe(Damage(10, 30, "torn tail", 0), "a.seg") == "a.seg: torn tail at byte 10 to 30"
