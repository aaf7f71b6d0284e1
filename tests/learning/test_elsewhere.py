import json

import pytest

from learning.dataset import build
from learning.dataset_spec import DatasetName, DatasetSpec
from learning.elsewhere import export_elsewhere
from learning.models import ModelError
from tests.support.chats import keep_chats

DATASET = DatasetName("d", 1)


@pytest.fixture
def directory(tmp_path):
    keep_chats(tmp_path / "data", 30)
    build(tmp_path / "data", "d", DatasetSpec())
    return tmp_path / "data"


def test_every_trainer_gets_its_files_and_its_command(directory, tmp_path):
    lines = export_elsewhere(directory, DATASET, tmp_path / "gpu", base="meta/8b")
    trl, axolotl, llamafactory, serving = lines
    assert trl == f"cd {tmp_path}/gpu/trl && trl sft --config trl.yaml"
    assert "train.jsonl.yaml --base-model meta/8b" in axolotl
    info = json.loads((tmp_path / "gpu/llamafactory/dataset_info.json").read_text())
    (name,) = info
    assert f"dataset={name} " in llamafactory
    assert (tmp_path / "gpu/llamafactory" / info[name]["file_name"]).is_file()
    assert (tmp_path / "gpu/axolotl/train.jsonl.yaml").is_file()
    assert "model_name_or_path: meta/8b" in (tmp_path / "gpu/trl/trl.yaml").read_text()
    assert serving.startswith("vllm serve meta/8b")


def test_a_folder_is_whole_or_not_there(directory, tmp_path, monkeypatch):
    def fail(*arguments, **words):
        raise OSError(28, "No space left on device", "train.jsonl")

    monkeypatch.setattr("learning.elsewhere.export_dataset", fail)
    with pytest.raises(OSError, match="No space"):
        export_elsewhere(directory, DATASET, tmp_path / "gpu")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_what_is_there_is_left_alone(directory, tmp_path):
    (tmp_path / "gpu").mkdir()
    with pytest.raises(ModelError, match="is there already"):
        export_elsewhere(directory, DATASET, tmp_path / "gpu")
