from pathlib import Path

import pytest

from learning import dataset_plan
from learning.captured import BadSelection, Selection, captured, captured_of_day
from learning.dataset_plan import Plan, prefixes_of
from learning.dataset_spec import DatasetSpec
from telemetry.store import day_files
from tests.support.chats import chat, keep_chats, prose
from tests.support.records import keep

EVERYTHING = Selection()


def looked(directory, selection=EVERYTHING):
    plan = Plan(directory, selection)
    return plan, plan.look()


def read_by(plan, selection=EVERYTHING):
    return [
        row.id
        for shard in plan.shards
        for row in captured_of_day(Path(shard.path), selection, shard.after, shard.last)
    ]


def test_ranges_hold_every_capture_once_in_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset_plan, "SHARD_ROWS", 7)
    keep_chats(tmp_path, 30)
    plan, sample = looked(tmp_path)
    assert [shard.rows for shard in plan.shards] == [7, 7, 7, 7, 2]
    assert [shard.number for shard in plan.shards] == [0, 1, 2, 3, 4]
    assert read_by(plan) == [row.id for row in captured(tmp_path)]
    assert (plan.rows, len(sample)) == (30, 30)


def test_only_what_is_selected_is_planned(tmp_path):
    keep(tmp_path, [chat("a", route="x"), chat("b", route="y"), chat("c", route="x")])
    wanted = Selection(where="route = 'x'")
    plan, _ = looked(tmp_path, wanted)
    assert (plan.rows, len(read_by(plan, wanted))) == (2, 2)
    with pytest.raises(BadSelection, match="no such column"):
        looked(tmp_path, Selection(where="nonsense = 1"))


def test_the_newest_policy_of_each_route_is_known(tmp_path):
    keep(tmp_path, [chat("a", route="x", policy="p1"), chat("b", route="x", policy="p2")])
    keep(tmp_path, [chat("c", route="y", policy="p1"), chat("d", route="y", policy=None)])
    assert looked(tmp_path)[0].policies == {"x": "p2", "y": "p1"}


def test_a_sample_is_the_same_every_time_and_names_the_constant_prompt(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset_plan, "PREFIX_SAMPLE", 25)
    system = {"role": "system", "content": prose("s", 200)}
    keep(tmp_path, [chat([system, {"role": "user", "content": prose(n)}]) for n in range(40)])
    (_, first), (_, again) = looked(tmp_path), looked(tmp_path)
    assert first == again
    assert len(first) == 25
    assert prefixes_of(tmp_path, first, DatasetSpec())["extract"].messages == (system,)


def test_what_lies_behind_damage_is_counted(tmp_path):
    keep_chats(tmp_path, 600)
    ((_, path),) = day_files(tmp_path)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200_000] = b"\xff" * 200_000
    path.write_bytes(data)
    plan, _ = looked(tmp_path)
    assert plan.damaged > 0
    assert plan.damaged_files == [path.name]
    path.write_bytes(b"no database at all" * 999)
    plan, _ = looked(tmp_path)
    assert (plan.rows, plan.damaged, plan.damaged_files) == (0, 1, [path.name])
