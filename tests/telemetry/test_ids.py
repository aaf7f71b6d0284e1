import os
import uuid

from hypothesis import given
from hypothesis import strategies as st

from telemetry.ids import IdSource, milliseconds_of, new_id


def test_makes_uuids_of_version_seven():
    identifier = uuid.UUID(new_id())
    assert identifier.version == 7
    assert identifier.variant == uuid.RFC_4122


def test_ascends_within_a_process():
    made = [new_id() for _ in range(5000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


@given(st.lists(st.integers(0, 2**47 * 1_000_000), min_size=2, max_size=50))
def test_ascends_whatever_the_clock_does(moments_ns):
    source = IdSource(iter(moments_ns).__next__)
    made = [source() for _ in moments_ns]
    assert made == sorted(set(made))


def test_tells_the_millisecond_it_was_made_at():
    source = IdSource(lambda: 1_760_000_000_123_456_789)
    assert milliseconds_of(source()) == 1_760_000_000_123


def test_tells_no_time_of_other_texts():
    assert milliseconds_of("") is None
    assert milliseconds_of(str(uuid.uuid4())) is None
    assert milliseconds_of("zzzzzzzz-zzzz-7zzz-zzzz-zzzzzzzzzzzz") is None


def test_shares_no_random_bits_with_a_fork():
    new_id()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, new_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 64).decode()
    os.close(reading)
    os.close(writing)
    assert theirs[-17:] != new_id()[-17:]


def test_counts_the_millisecond_up_where_one_holds_no_more():
    source = IdSource(lambda: 5_000_000)
    made = [source() for _ in range(4096 + 1)]
    assert made == sorted(set(made))
    assert milliseconds_of(made[-2]) == 5
    assert milliseconds_of(made[-1]) == 6
