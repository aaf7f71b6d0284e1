"""The small runs need no model; `make flywheel` is the real one."""

import json
import resource

import pytest

from learning.flywheel import STUB_SAYS, Flywheel, main
from learning.flywheel_config import Size

SMALL = {
    "calls": 260, "benchmarked": 120, "labelled": 220, "trial": 120, "canary": 500, "routed": 40,
    "speed": 40.0, "at-once": 24, "own-at-once": 8, "samples": 1,
}  # fmt: skip


def words(**changes):
    named = {**SMALL, **changes}
    return [
        "--stub",
        *(word for name, value in named.items() for word in (f"--{name}", str(value))),
    ]


@pytest.mark.slow  # a dozen commands in processes of their own
def test_every_step_but_the_training_is_the_real_one(tmp_path, capsys):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert main([*words(), "--work-dir", str(tmp_path)]) == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 90
    said = capsys.readouterr().out
    for step in Flywheel(tmp_path, Size()).steps:
        assert f"== {step.name}" in said
    assert said.count(STUB_SAYS) == 2
    assert "certified: error at most 9%" in said
    assert "promoted (100%)" in said
    assert "met: error <= 9%, p90 and cost below both" in said
    rows = (tmp_path / "data/datasets/extract/1/rows.jsonl").read_text().splitlines()
    assert {json.loads(row)["label_source"] for row in rows} == {"teacher"}
    assert main([*words(), "--work-dir", str(tmp_path), "--from", "report"]) == 0
    again = capsys.readouterr().out
    assert "== routed: done before" in again
    assert "== report\n" in again


def test_a_step_that_fails_is_told_and_is_not_done(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("learning.flywheel_config.TODAY", "routes: []\n")
    assert main([*words(calls=1), "--work-dir", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "== capture" in said
    assert "failed: " in said
    assert [one.name for one in Flywheel(tmp_path, Size()).state.done] == ["generate"]
