import time

import pytest

from policies.schema_check import SchemaCheck


def test_fits():
    check = SchemaCheck({"type": "number", "minimum": 0})
    assert check.fits(3)
    assert not check.fits(-3)
    assert not check.fits("3")


def test_local_references_work():
    schema = {"properties": {"a": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}}
    assert SchemaCheck(schema).fits({"a": 1})
    assert not SchemaCheck(schema).fits({"a": "x"})


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:1/schema"},
        {"$ref": "file:///etc/passwd"},
        {"type": "nmber"},
        {"pattern": "("},
        {"pattern": "(?=a)b"},
        "string",
        3,
        None,
    ],
)
def test_refuses_schemas_that_cannot_be_used_here(schema):
    with pytest.raises(ValueError, match="JSON schema"):
        SchemaCheck(schema)


def test_no_file_is_read_for_a_schema(tmp_path):
    (tmp_path / "schema.json").write_text('{"type": "number"}')
    with pytest.raises(ValueError, match="Retrieval is disabled"):
        SchemaCheck({"$ref": f"file://{tmp_path}/schema.json"})


def test_no_pattern_can_hold_a_worker():
    check = SchemaCheck({"type": "string", "pattern": "^(a+)+$"})
    started = time.process_time()
    assert not check.fits("a" * 5000 + "!")
    assert time.process_time() - started < 0.5


def test_equal_schemas_are_equal_whatever_their_order():
    one = SchemaCheck({"type": "number", "minimum": 0})
    other = SchemaCheck({"minimum": 0, "type": "number"})
    assert one == other
    assert hash(one) == hash(other)
    assert one != SchemaCheck({"type": "number"})
    assert repr(one) == 'SchemaCheck({"minimum":0,"type":"number"})'


@pytest.mark.parametrize("value", [object(), {1: 2}])
def test_value_that_is_no_json_does_not_fit(value):
    assert not SchemaCheck({"type": ["object", "null"]}).fits(value)


def test_schema_nested_without_end_is_refused():
    schema: object = True
    for _ in range(2000):
        schema = {"items": schema}
    with pytest.raises(ValueError, match="Recursion limit"):
        SchemaCheck(schema)
