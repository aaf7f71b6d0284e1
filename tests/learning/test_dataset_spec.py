import msgspec
import pytest

from learning.captured import Selection
from learning.dataset_spec import DatasetError, DatasetName, DatasetSpec, parse_name


def test_names():
    assert parse_name("extract") == DatasetName("extract")
    assert parse_name("a.b-c@12") == DatasetName("a.b-c", 12)
    assert (parse_name("a@2").id, parse_name("a").id) == ("a@2", "a")


@pytest.mark.parametrize("text", ["", "a@", "a@0", "a@x", "../a", "a b", "@1", "a@1@2"])
def test_what_is_no_name(text):
    with pytest.raises(DatasetError, match="no data set's name"):
        parse_name(text)


def test_the_hash_is_of_what_was_specified():
    spec = DatasetSpec(Selection(route="r"))
    again = msgspec.json.decode(msgspec.json.encode(spec), type=DatasetSpec)
    assert (spec, spec.hash) == (again, again.hash)
    assert spec.hash != DatasetSpec(Selection(route="s")).hash
