import json

from learning.flywheel_trainer import MODEL, main


def test_it_says_that_it_trains_nothing_and_leaves_what_a_trainer_leaves(tmp_path, capsys):
    (tmp_path / "train.jsonl").write_text("{}\n{}\n")
    job = tmp_path / "job.json"
    job.write_text(json.dumps({"work": str(tmp_path), "train": str(tmp_path / "train.jsonl")}))
    assert main([str(job)]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[0] == {"event": "checked", "rows": 2, "over_length": 0, "not_text": 0}
    assert any("STUB" in str(event.get("what")) for event in events)
    assert (tmp_path / "model.gguf").read_bytes() == MODEL
    assert json.loads((tmp_path / "loss.json").read_text())["losses"]
