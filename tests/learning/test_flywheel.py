import json

from learning.flywheel import main


def test_every_step_before_the_training_is_the_real_command(tmp_path, capsys):
    words = ["--stub", "--calls", "60", "--tests", "20", "--speed", "200"]
    assert main([*words, "--keep", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    for step in ("generate", "capture", "benchmark", "label", "data set"):
        assert f"== {step}" in said
    assert "No training here" in said
    assert "Not there yet" in said
    rows = (tmp_path / "data/datasets/extract/1/rows.jsonl").read_text().splitlines()
    assert len(rows) > 40
    assert {json.loads(row)["label_source"] for row in rows} == {"teacher"}


def test_a_step_that_fails_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("learning.flywheel.CONFIG", "backends: [] # {speed} {student}")
    assert main(["--stub", "--calls", "1", "--tests", "1", "--keep", str(tmp_path)]) == 1
    assert "failed:" in capsys.readouterr().out
