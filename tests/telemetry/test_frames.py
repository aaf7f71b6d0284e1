import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.frame_writer import COPIED_BYTES_MAX, FrameWriter
from telemetry.frames import (
    CORRUPT,
    MISSING,
    OVERHEAD_BYTES,
    TORN_TAIL,
    Damage,
    Frame,
    Kind,
    keys_of,
    scan,
)

NAME = "0199d0c0-0000-7000-8000-000000000000.w0.seg"
KEYS = keys_of(NAME)

payload_lists = st.lists(st.binary(max_size=300), min_size=1, max_size=12)


def segment(payloads, keys=KEYS, first_kind=Kind.HEADER):
    writer = FrameWriter(keys)
    data = b""
    ends = []
    for index, payload in enumerate(payloads):
        kind = first_kind if index == 0 else Kind.REQUEST
        data += writer.head(kind, payload) + payload
        ends.append(len(data))
    return data, ends


def scan_all(data, *, is_sealed=True, is_all=True):
    return scan(data, KEYS, base=0, next_sequence=0, is_all=is_all, is_sealed=is_sealed)


def frames(result):
    return [bytes(item.payload) for item in result.found if isinstance(item, Frame)]


def damages(result):
    return [item for item in result.found if isinstance(item, Damage)]


@given(payload_lists)
def test_reads_back_what_was_written(payloads):
    data, _ = segment(payloads)
    result = scan_all(data)
    assert frames(result) == payloads
    assert not damages(result)
    assert result.consumed == len(data)


@given(payload_lists, st.data())
def test_a_cut_end_is_a_torn_tail_and_loses_no_whole_frame(payloads, draw):
    data, ends = segment(payloads)
    cut = draw.draw(st.integers(0, len(data)))
    result = scan_all(data[:cut])
    whole = sum(end <= cut for end in ends)
    assert frames(result) == payloads[:whole]
    torn = damages(result)
    assert [damage.reason for damage in torn] == ([] if cut in (0, *ends) else [TORN_TAIL])
    assert result.consumed == cut


@given(payload_lists, st.data())
def test_an_unfinished_frame_of_a_live_segment_is_not_there_yet(payloads, draw):
    data, ends = segment(payloads)
    cut = draw.draw(st.integers(0, len(data)))
    result = scan_all(data[:cut], is_sealed=False)
    assert not damages(result)
    assert result.consumed == max([end for end in ends if end <= cut], default=0)


@given(payload_lists, st.data())
def test_a_flipped_bit_costs_its_own_frame_only_and_is_counted(payloads, draw):
    data, ends = segment(payloads)
    at = draw.draw(st.integers(0, len(data) - 1))
    flipped = bytearray(data)
    flipped[at] ^= 1 << draw.draw(st.integers(0, 7))
    hit = sum(end <= at for end in ends)
    result = scan_all(bytes(flipped))
    assert frames(result) == payloads[:hit] + payloads[hit + 1 :]
    [damage] = damages(result)
    if hit == len(payloads) - 1:  # nothing follows that would tell what was lost
        assert damage.reason in (CORRUPT, TORN_TAIL)
    else:
        assert damage.reason == CORRUPT
        assert damage.frames_lost == (0 if hit == 0 else 1)  # the header is no record


def test_frames_removed_from_the_middle_are_counted():
    data, ends = segment([b"header", b"one", b"two", b"three"])
    result = scan_all(data[: ends[0]] + data[ends[2] :])
    assert frames(result) == [b"header", b"three"]
    assert damages(result) == [Damage(ends[0], ends[0], MISSING, 2)]


def test_a_frame_inside_a_body_is_not_believed_even_where_its_host_is_damaged():
    forged, _ = segment([b"forged"], keys=keys_of("another name"), first_kind=Kind.REQUEST)
    data, ends = segment([b"header", forged, b"last"])
    broken = bytearray(data)
    broken[ends[0] + 4] ^= 1
    assert frames(scan_all(bytes(broken))) == [b"header", b"last"]


def test_asks_for_more_where_a_frame_goes_beyond_what_was_read():
    data, ends = segment([b"header", bytes(5000)])
    part = data[: ends[0] + 100]
    result = scan(part, KEYS, base=0, next_sequence=0, is_all=False, is_sealed=True)
    assert result.consumed == ends[0]
    assert result.wanted == OVERHEAD_BYTES + 5000


@pytest.mark.parametrize("size", [COPIED_BYTES_MAX - 1, COPIED_BYTES_MAX, COPIED_BYTES_MAX + 1])
def test_a_large_payload_is_checked_like_a_small_one(size):
    data, _ = segment([b"x", b"y" * size, b"z"])
    assert frames(scan_all(data)) == [b"x", b"y" * size, b"z"]


def test_a_frame_has_seventeen_bytes_of_its_own():
    assert OVERHEAD_BYTES == 17
