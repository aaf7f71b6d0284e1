"""Whoever folds also learns."""

from pathlib import Path

import pytest

from policies.learned import Learned
from proxy.teaching import Teaching, catch_up, fold_and_learn
from telemetry.errors import Locked
from telemetry.fold import LEARNED_NAME, Folder
from telemetry.ids import new_id
from telemetry.learning_store import load_learned
from tests.support.answered import attempt, record, write


def answer(directory: Path, count: int) -> None:
    write(directory, [record(attempt(), id=new_id(), ts_us=1_000_000) for _ in range(count)])


def learned(directory: Path) -> int:
    data = load_learned(directory, LEARNED_NAME)
    return 0 if data is None else Learned.from_bytes(data).version


def test_a_command_that_folds_learns_on_from_what_was_known(tmp_path: Path) -> None:
    answer(tmp_path, 3)
    catch_up(tmp_path)
    assert learned(tmp_path) == 3
    answer(tmp_path, 2)
    catch_up(tmp_path)
    catch_up(tmp_path)
    assert learned(tmp_path) == 5


def test_nothing_new_is_nothing_to_save(tmp_path: Path) -> None:
    fold_and_learn(tmp_path)
    assert load_learned(tmp_path, LEARNED_NAME) is None


def test_what_fails_says_nothing_and_is_not_saved(tmp_path: Path) -> None:
    failed = record(attempt(error_type="reset"), id=new_id(), ts_us=1)
    write(tmp_path, [failed])
    catch_up(tmp_path)
    assert learned(tmp_path) == 0


def test_where_a_keeper_folds_it_learns_too(tmp_path: Path) -> None:
    answer(tmp_path, 1)
    keeper = Folder(tmp_path)
    with pytest.raises(Locked):
        fold_and_learn(tmp_path)
    keeper.close()


def test_saves_and_loads_what_it_learned(tmp_path: Path) -> None:
    first, second = Teaching(), Teaching()
    folder = Folder(tmp_path, observer=first.observe)
    answer(tmp_path, 4)
    folder.fold_all()
    assert (first.learned.version, first.is_unsaved) == (4, True)
    saved = first.save(folder)
    second.load(folder)
    folder.close()
    assert (second.learned.version, first.is_unsaved) == (4, False)
    assert Learned.from_bytes(saved).version == 4
