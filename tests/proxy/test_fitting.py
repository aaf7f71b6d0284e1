"""Fitted models taken into a worker: whole, the same, missing, damaged; the loop turning on."""

import asyncio
from pathlib import Path

import pytest

from policies import text_store
from policies.fitted import NOTHING_FITTED
from policies.fitted_store import fitted_bytes, read_fitted
from policies.text_model import Head, TextModel, pack_grams
from proxy.fitting import load_models, load_models_now
from telemetry.fitted_file import fitted_path, save_fitted

TABLE = pack_grams(12, [1, 2], [1.0, 1.0], [[0.5, 0.25]])
MODEL = TextModel((TABLE,), (Head("a", 0.0, (0.0,) * 11, {}),), 40)
DATA = fitted_bytes(MODEL, None)


async def test_what_was_fitted_is_loaded_both_ways(tmp_path: Path) -> None:
    save_fitted(tmp_path, DATA)
    wanted = read_fitted(DATA)
    assert await load_models(tmp_path, NOTHING_FITTED) == wanted
    assert load_models_now(tmp_path) == wanted


async def test_what_is_known_already_is_not_read_again(tmp_path: Path) -> None:
    save_fitted(tmp_path, DATA)
    known = load_models_now(tmp_path)
    fitted_path(tmp_path).write_bytes(DATA[:16])
    assert await load_models(tmp_path, known) is known


async def test_nothing_fitted_is_nothing_known(tmp_path: Path) -> None:
    assert await load_models(tmp_path, NOTHING_FITTED) is NOTHING_FITTED
    assert load_models_now(tmp_path) == NOTHING_FITTED
    assert await load_models(tmp_path, read_fitted(DATA)) == NOTHING_FITTED


@pytest.mark.parametrize("damaged", [b"x", DATA[:-1], DATA[:-1] + b"x", b"0" * 16 + DATA[16:]])
async def test_a_damaged_file_is_none_and_logged(
    tmp_path: Path, damaged: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    save_fitted(tmp_path, damaged)
    assert await load_models(tmp_path, NOTHING_FITTED) == NOTHING_FITTED
    assert load_models_now(tmp_path) == NOTHING_FITTED
    if len(damaged) > 1:
        assert "fitted_unusable" in capsys.readouterr().err


async def test_a_folder_in_its_place_is_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fitted_path(tmp_path).mkdir()
    assert load_models_now(tmp_path) == NOTHING_FITTED
    assert "pointsman fit" in capsys.readouterr().err


async def test_the_loop_turns_while_a_model_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_store, "SLICE", 100)
    save_fitted(tmp_path, DATA)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.get_running_loop().create_task(count())
    await load_models(tmp_path, NOTHING_FITTED)
    counting.cancel()
    assert turns >= 40
