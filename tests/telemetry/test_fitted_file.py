"""The file of fitted models: replaced whole, private, missing."""

import stat
from pathlib import Path

from telemetry.fitted_file import FITTED_FILE, load_fitted, save_fitted, start_of_fitted


def test_what_was_saved_last_is_loaded(tmp_path: Path) -> None:
    save_fitted(tmp_path, b"first")
    save_fitted(tmp_path, b"second")
    assert load_fitted(tmp_path) == b"second"
    assert start_of_fitted(tmp_path, 3) == b"sec"
    assert [path.name for path in tmp_path.iterdir()] == [FITTED_FILE]
    assert stat.S_IMODE((tmp_path / FITTED_FILE).stat().st_mode) == 0o600


def test_nothing_was_saved(tmp_path: Path) -> None:
    assert load_fitted(tmp_path) is None
    assert start_of_fitted(tmp_path, 16) == b""
    assert start_of_fitted(tmp_path / "gone", 16) == b""
