"""What is kept of canaries and promises, and what workers read of it."""

from pathlib import Path

import pytest

from policies.canary_run import Arm
from proxy.trials_file import FILE_NAME, Trials, arms_of, read_trials, write_trials
from telemetry.cursor import Cursor
from tests.support.trial_rows import begun, configured


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    trials = begun(configured())
    write_trials(tmp_path, trials)
    assert read_trials(tmp_path) == trials
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert arms_of(trials) == {"extract": Arm("new", "old", 0.0, is_shadow=True)}


@pytest.mark.parametrize("text", [b"", b"{", b'{"cursor": 7}', b'{"format": 2}'])
def test_what_cannot_be_read_is_told_and_nothing(
    tmp_path: Path, text: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read_trials(tmp_path) is None
    (tmp_path / FILE_NAME).write_bytes(text)
    assert read_trials(tmp_path) is None
    assert "trials_unreadable" in capsys.readouterr().err


def test_a_state_of_nothing_is_small() -> None:
    assert Trials().cursor == Cursor()
    assert arms_of(Trials()) == {}
