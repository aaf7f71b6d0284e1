"""What is in force survives in one file, whatever happens to the operator's."""

import stat
from pathlib import Path

import msgspec
import pytest

from proxy.active import FILE_NAME, Active, build_active, read_active, write_active
from tests.support.simple_config import SIMPLE, write_config


def test_what_was_written_is_read_back_private_to_us(tmp_path: Path) -> None:
    active = Active(generation=3, file="/etc/c.yaml", text=SIMPLE, keys_text="[]")
    write_active(tmp_path, active)
    assert read_active(tmp_path) == active
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_a_broken_file_of_the_operator_does_not_matter(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    write_active(tmp_path, Active(0, str(path), SIMPLE))
    path.write_text("routes: [half an ed")
    configuration, keys = build_active(read_active(tmp_path), environment={})
    assert configuration.policy.default.candidates == ("quick",)
    assert keys is None


def test_keys_asked_for_but_not_there_let_nobody_in(tmp_path: Path) -> None:
    text = SIMPLE + "keys: {file: keys.yaml}\n"
    _, keys = build_active(Active(0, str(tmp_path / "c.yaml"), text, ""), environment={})
    assert keys is not None
    assert len(keys) == 0


def test_a_missing_or_torn_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_active(tmp_path)
    (tmp_path / FILE_NAME).write_text('{"generation": 1,')
    with pytest.raises(msgspec.MsgspecError):
        read_active(tmp_path)
