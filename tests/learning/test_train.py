import json
import sys
from pathlib import Path

import pytest

from learning import local
from learning.dataset import build
from learning.dataset_spec import DatasetName, DatasetSpec, SplitRule
from learning.models import ModelError, check_artifact, find_model, list_models
from learning.train import BASE_TEMPLATE, TrainOptions, next_commands, train
from tests.support.chats import keep_chats

STUB = """
import json, sys, pathlib
job = json.loads(pathlib.Path(sys.argv[1]).read_text())
work = pathlib.Path(job["work"])
tell = lambda **event: print(json.dumps(event), flush=True)
rows = pathlib.Path(job["train"]).read_text().splitlines()
assert all(set(json.loads(row)) == {"prompt", "completion"} for row in rows)
seen = work / "seen"
tries = int(seen.read_text()) if seen.is_file() else 0
seen.write_text(str(tries + 1))
print("a library's own word")
tell(event="checked", rows=len(rows), over_length=1, not_text=2)
if MODE == "refuse":
    tell(event="error", message="it would never stop")
    sys.exit(1)
if MODE == "die" and tries == 0:
    sys.exit(9)
if tries:
    tell(event="resumed", step=3)
tell(event="step", step=1, of=1, loss=0.5)
(work / "loss.json").write_text(json.dumps({"losses": [2.0, 0.5], "valid_loss": 0.7}))
tell(event="trained", steps=2, valid_loss=0.7)
tell(event="stops", share=0.75)
(work / "model.gguf").write_bytes(b"gguf")
tell(event="done", gguf="x")
"""
DATASET = DatasetName("d", 1)


@pytest.fixture
def directory(tmp_path, monkeypatch):
    base = tmp_path / "base.gguf"
    base.write_bytes(b"base")
    monkeypatch.setattr(local, "obtain", lambda where, say: base)
    keep_chats(tmp_path / "data", 40)
    build(tmp_path / "data", "d", DatasetSpec(split=SplitRule(valid=0.2)))
    return tmp_path / "data"


def run(directory: Path, mode="", options=TrainOptions(), **words):  # noqa: B008 - frozen
    script = directory.parent / "stub.py"
    script.write_text(f"MODE = {mode!r}\n{STUB}")
    return train(
        directory, DATASET, "m", options, python=Path(sys.executable), script=script, **words
    )


def test_a_model_is_trained_and_registered_with_what_it_was_made_of(directory):
    events = []
    report = run(directory, say=lambda event: events.append(event["event"]))
    assert (report.model, report.first_loss, report.last_loss) == ("m@1", 2.0, 0.5)
    assert (report.valid_loss, report.stops) == (0.7, 0.75)
    assert (report.over_length, report.not_text) == (1, 2)
    assert "step" in events
    model = find_model(directory, "m")
    check_artifact(model)
    assert model.template_path.read_text() == BASE_TEMPLATE
    assert (model.dataset_id, model.params["rank"]) == ("d@1", 16)
    assert model.params["steps"] == -(-report.rows // 8)
    names = {path.name for path in Path(report.folder).iterdir()}
    assert names == {"model.gguf", "template.jinja", "loss.svg", "loss.json", "job.json",
                     "train.log"}  # fmt: skip
    assert [path.name for path in (directory / "models/m").iterdir()] == ["1"]


def test_another_run_is_another_version(directory):
    run(directory)
    assert run(directory).model == "m@2"


def test_a_run_that_was_broken_off_goes_on(directory):
    with pytest.raises(ModelError, match=r"ended with code 9; see .*train\.log"):
        run(directory, "die")
    assert list_models(directory) == []
    assert run(directory, "die").resumed_at == 3


def test_one_with_other_settings_is_not_taken_for_it(directory):
    with pytest.raises(ModelError, match="code 9"):
        run(directory, "die")
    other = TrainOptions(rank=8)
    with pytest.raises(ModelError, match="--fresh begins anew"):
        run(directory, "die", other)
    with pytest.raises(ModelError, match="code 9"):
        run(directory, "die", other, is_fresh=True)


def test_what_the_checks_refuse_is_told(directory):
    with pytest.raises(ModelError, match="it would never stop"):
        run(directory, "refuse")
    assert list_models(directory) == []


def test_what_is_missing_is_told(directory, tmp_path):
    with pytest.raises(ModelError, match="make train-env"):
        train(directory, DATASET, "m", TrainOptions(), python=tmp_path / "none")
    with pytest.raises(ModelError, match="neither gemma-3-270m nor a folder"):
        run(directory, options=TrainOptions(base=str(tmp_path)))


def test_steps_stand_in_for_epochs(directory):
    run(directory, options=TrainOptions(steps=3))
    job = json.loads((directory / "models/m/1/job.json").read_text())
    assert job["steps"] == 3


def test_what_comes_next_is_said():
    assert next_commands("m@1")[0] == "pointsman model serve m@1"
