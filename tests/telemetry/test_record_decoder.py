"""Records decoded for the fold."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.record import CandidateRecord, PlanRecord, RequestRecord
from telemetry.record_decoder import RecordDecoder
from tests.support.records import make_candidate, make_record

CANDIDATES = st.lists(
    st.builds(make_candidate, st.sampled_from("abc"), cost_usd=st.none() | st.floats(0, 1)),
    max_size=3,
).map(tuple)
PLANS = st.lists(st.builds(PlanRecord, st.sampled_from("xy"), st.just("b"), st.just("c"))).map(
    tuple
)


def packed(record):
    return memoryview(msgspec.msgpack.encode(record))


@given(st.lists(st.tuples(CANDIDATES, PLANS), max_size=6))
def test_decodes_what_an_ordinary_decoder_would(shapes):
    decode = RecordDecoder()
    for candidates, plan in shapes:
        record = make_record(candidates=candidates, plan=plan)
        found = decode(packed(record))
        assert isinstance(found, RequestRecord)
        assert msgspec.structs.asdict(found) == msgspec.structs.asdict(record)
        assert msgspec.msgpack.encode(found) == bytes(packed(record))


def test_what_is_the_same_is_one_object():
    decode = RecordDecoder()
    one, two = decode(packed(make_record())), decode(packed(make_record()))
    other = decode(packed(make_record(candidates=(make_candidate("x"),))))
    assert one.candidates is two.candidates
    assert one.plan is two.plan
    assert isinstance(one.candidates[0], CandidateRecord)
    assert other.candidates is not one.candidates


def test_records_of_an_earlier_version_have_neither():
    fields = msgspec.msgpack.decode(packed(make_record()))[:7]
    found = RecordDecoder()(memoryview(msgspec.msgpack.encode(fields)))
    assert (found.candidates, found.plan) == ((), ())


@pytest.mark.parametrize("odd", [["x"], [["a", "b"]], 7, None])
def test_candidates_that_are_none_are_refused(odd):
    fields = msgspec.msgpack.decode(packed(make_record()))
    fields[RequestRecord.__struct_fields__.index("candidates")] = odd
    with pytest.raises(msgspec.MsgspecError):
        RecordDecoder()(memoryview(msgspec.msgpack.encode(fields)))
