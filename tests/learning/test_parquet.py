import warnings

import pyarrow.parquet
import pytest

from learning import near, parquet
from learning.dataset import build
from learning.dataset_spec import DatasetError, DatasetName, DatasetSpec, SplitRule
from learning.dataset_store import read_examples
from learning.export import export, export_dataset
from learning.parquet import SPLIT_NAMES, ParquetWriter, parquet_row
from tests.learning.test_formats import SHAPES
from tests.support.chats import chat, keep_chats
from tests.support.records import keep

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def loaded(path, cache):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import datasets

        datasets.disable_progress_bars()
        return datasets.load_dataset(str(path), cache_dir=str(cache))


@pytest.fixture
def built(tmp_path):
    keep_chats(tmp_path / "data", 60)
    keep(tmp_path / "data", [chat([{"role": "user", "content": [{"type": "text", "text": "p"}]}])])
    build(tmp_path / "data", "d", DatasetSpec(split=SplitRule(valid=0.2, test=0.3)))
    return tmp_path


def test_hugging_face_loads_exactly_what_was_built(built):
    report = export_dataset(
        built / "data", DatasetName("d", 1), built / "out", format_name="parquet"
    )
    assert report.rows == 61
    assert "README.md" in report.files
    found = loaded(built / "out", built / "cache")
    for split, name in SPLIT_NAMES.items():
        rows = [
            parquet_row(example)
            for example in read_examples(
                built / "data", DatasetName("d", 1), splits=frozenset((split,))
            )
        ]
        if rows:
            assert list(found[name]) == rows
    assert set(found) == {"train", "validation", "test"}


def test_every_shape_has_the_same_columns(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROW_GROUP", 2)
    (tmp_path / "p").mkdir()
    writer = ParquetWriter(tmp_path / "p")
    for example in SHAPES.values():
        writer.add(example)
    writer.close("# A card")
    table = pyarrow.parquet.read_table(tmp_path / "p/data/train-00000-of-00001.parquet")
    assert table.to_pylist() == [parquet_row(example) for example in SHAPES.values()]
    assert table.column("messages").null_count == 0
    assert (tmp_path / "p/README.md").read_text().endswith("# A card")


def test_captures_become_a_folder_too(tmp_path):
    keep_chats(tmp_path / "data", 5)
    report = export(tmp_path / "data", tmp_path / "out", format_name="parquet")
    assert report.rows == 5
    assert loaded(tmp_path / "out", tmp_path / "cache")["train"].num_rows == 5


def test_a_folder_that_is_there_is_not_replaced(built):
    (built / "out").mkdir()
    with pytest.raises(DatasetError, match="is there already"):
        export_dataset(built / "data", DatasetName("d", 1), built / "out", format_name="parquet")


def test_what_breaks_off_leaves_nothing(built, monkeypatch):
    monkeypatch.setattr(ParquetWriter, "close", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_dataset(built / "data", DatasetName("d", 1), built / "out", format_name="parquet")
    assert [path.name for path in built.iterdir()] == ["data"]


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(near.ExtraMissing, match="pyarrow is missing"):
        ParquetWriter(tmp_path)
