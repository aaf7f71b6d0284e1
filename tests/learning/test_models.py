import pytest

from learning.dataset_spec import DatasetName
from learning.models import (
    ModelError,
    check_artifact,
    find_model,
    list_models,
    model_folder,
    next_version,
    register_model,
)


def add(directory, name="m", version=1, data=b"gguf"):
    folder = model_folder(directory, name, version)
    folder.mkdir(parents=True)
    (folder / "model.gguf").write_bytes(data)
    (folder / "template.jinja").write_text("{{ messages }}")
    return register_model(
        directory,
        DatasetName(name, version),
        base="base",
        base_sha256="0" * 64,
        dataset_id="d@1",
        params={"r": 16},
    )


def test_models_are_registered_listed_and_found(tmp_path):
    assert list_models(tmp_path) == []
    assert next_version(tmp_path, "m") == 1
    first = add(tmp_path)
    for version in range(2, 11):
        add(tmp_path, version=version)
    add(tmp_path, "m-other")
    assert len(list_models(tmp_path)) == 11
    assert find_model(tmp_path, "m@1") == first
    assert find_model(tmp_path, "m").id == "m@10"
    assert next_version(tmp_path, "m") == 11
    assert (first.params, first.dataset_id) == ({"r": 16}, "d@1")
    for text in ("none", "m@99", "../m"):
        with pytest.raises(ModelError, match="there is no model"):
            find_model(tmp_path, text)


def test_a_file_that_was_changed_or_removed_is_not_served(tmp_path):
    model = add(tmp_path)
    check_artifact(model)
    model.template_path.write_text("another")
    with pytest.raises(ModelError, match="template"):
        check_artifact(model)
    model.artifact_path.write_bytes(b"another")
    with pytest.raises(ModelError, match="not the file that was registered"):
        check_artifact(model)
    model.artifact_path.unlink()
    with pytest.raises(ModelError, match="is gone"):
        check_artifact(model)
