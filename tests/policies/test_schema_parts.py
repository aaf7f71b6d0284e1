"""The units of the schema against the decoders of the loader."""

import jsonschema_rs
import pytest

from pointsman import units
from policies.schema_parts import DEFINITIONS, QUANTILES, each, mapping, number, ref, whole

UNITS = {
    "duration": units.duration_s,
    "money": units.money_usd,
    "change": units.change,
    "size": units.size_bytes,
    "share": units.share,
}
WRITTEN = (
    "200ms", "1.5 s", " 30d", ".5h", "200", "1e3s", "-1s", "$0.004", "$ 3", "0.004", "$1e3",
    "5%", "0.5%", "+0.5pp", "-3%", "+3", "3pp", "20MiB", "512 KiB", "4096", "1TB", "p95", "",
)  # fmt: skip


def fits(schema, value):
    return jsonschema_rs.validator_for({"$defs": DEFINITIONS, **schema}).is_valid(value)


@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("text", WRITTEN)
def test_a_unit_is_written_as_the_loader_reads_it(name, text):
    try:
        UNITS[name](text)
        is_read = True
    except ValueError:
        is_read = False
    assert fits(ref(name), text) == is_read


@pytest.mark.parametrize("key", ["p50", "p99.9", "p5"])
def test_quantiles_are_keys(key):
    assert fits({**mapping({}), "patternProperties": QUANTILES}, {key: "200ms"})


@pytest.mark.parametrize("key", ["q50", "p", "p500", "P50"])
def test_other_keys_are_no_quantiles(key):
    assert not fits({**mapping({}), "patternProperties": QUANTILES}, {key: "200ms"})


def test_a_mapping_has_its_keys_and_no_others():
    schema = mapping({"a": whole(1)}, required=["a"])
    assert fits(schema, {"a": 1})
    assert not fits(schema, {"a": 0})
    assert not fits(schema, {})
    assert not fits(schema, {"a": 1, "b": 1})
    assert fits(each(number(0)), {"x": 0.5})
    assert not fits(each(number(0)), {"x": -0.5})


def test_a_secret_is_named_in_one_way():
    assert fits(ref("secret"), {"env": "NAME"})
    assert not fits(ref("secret"), {"env": "NAME", "file": "F"})
    assert not fits(ref("secret"), "sk-123")
