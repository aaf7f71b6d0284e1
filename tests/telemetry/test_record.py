import msgspec

from telemetry.record import AttemptRecord, BodyPart, CandidateRecord, RequestRecord
from tests.support.records import make_record

FIRST_FIELDS = ("id", "ts_us", "api", "status", "complete", "capture", "http_status", "route")


def test_is_read_back_as_it_was_written():
    record = make_record(labels={"task": "x"}, user="u")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=RequestRecord) == record


def test_an_older_record_with_fewer_fields_is_read():
    values = msgspec.msgpack.decode(msgspec.msgpack.encode(make_record()))
    older = msgspec.msgpack.encode(values[: RequestRecord.__struct_fields__.index("plan")])
    assert msgspec.msgpack.decode(older, type=RequestRecord).plan == ()


def test_fields_keep_their_place_for_ever():
    assert RequestRecord.__struct_fields__[: len(FIRST_FIELDS)] == FIRST_FIELDS
    assert BodyPart.__struct_fields__ == ("id", "index", "data")
    assert CandidateRecord.__struct_fields__[:3] == ("backend", "eligible", "chosen")
    assert AttemptRecord.__struct_fields__[:3] == ("kind", "backend", "model")
