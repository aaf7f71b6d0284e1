import asyncio
import threading

import pytest

from telemetry.catch_up import ensure_folded
from telemetry.errors import FoldTimeout
from telemetry.fold import Folder
from telemetry.journal import Journal
from telemetry.queries import captures
from tests.support.records import make_record, write_journal


def test_folds_itself_where_nobody_does(tmp_path):
    write_journal(tmp_path, [make_record()])
    ensure_folded(tmp_path)
    assert len(list(captures(tmp_path))) == 1


def test_the_caller_may_fold_in_its_own_way(tmp_path):
    write_journal(tmp_path, [make_record()])
    folded = []
    ensure_folded(tmp_path, fold=folded.append)
    assert folded == [tmp_path]


def test_a_directory_with_nothing_in_it_is_left_alone(tmp_path):
    ensure_folded(tmp_path / "missing")
    assert not (tmp_path / "missing").exists()


def test_waits_for_the_keeper_that_holds_the_lock(tmp_path):
    folder = Folder(tmp_path)
    write_journal(tmp_path, [make_record() for _ in range(5)])
    timer = threading.Timer(0.2, folder.fold_all)
    timer.start()
    ensure_folded(tmp_path, 10.0)
    assert len(list(captures(tmp_path))) == 5
    timer.join()
    folder.close()


def test_gives_up_on_a_keeper_that_does_not_fold_and_names_it(tmp_path):
    folder = Folder(tmp_path)
    write_journal(tmp_path, [make_record()])
    with pytest.raises(FoldTimeout, match=r"process \d+ holds"):
        ensure_folded(tmp_path, 0.2)
    folder.close()


async def test_sees_what_a_living_worker_has_written_and_waits_for_nothing_later(tmp_path):
    journal = Journal(tmp_path, node="here", worker=0, loop=asyncio.get_running_loop())
    folder = Folder(tmp_path)
    journal.append(make_record(), lambda is_kept: None)
    await asyncio.sleep(0.01)
    folder.fold_once()
    await asyncio.to_thread(ensure_folded, tmp_path, 1.0)
    journal.append(make_record(), lambda is_kept: None)
    await asyncio.sleep(0.01)
    with pytest.raises(FoldTimeout):
        await asyncio.to_thread(ensure_folded, tmp_path, 0.1)
    journal.close()
    folder.close()
