"""A start on a disk that is full: with `fail_open` a restart serves, and says when it cannot."""

import subprocess
from pathlib import Path

from tests.support.served import SERVE, Served
from tests.support.simple_config import SIMPLE, write_config
from tests.support.small_disk import fill, small_disk


def test_a_restart_on_a_full_disk_serves_and_records_again_once_there_is_room(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path / "disk", 24 * 1024) as disk:
        capture = f"capture: {{directory: {disk / 'data'}}}\n"
        config = write_config(tmp_path, SIMPLE + capture)
        with Served(config) as served:
            assert served.chat()[0] == 200
            folded = served.wait_until("/state", lambda state: state["fold"]["folded"] == 1)
            assert folded["fold"]["failures"] == 0
        ballast = fill(disk)
        with Served(config) as served:
            for _ in range(400):  # more than the room the start was given
                assert served.chat("x" * 5000)[0] == 200
            ballast.unlink()
            served.wait_until("/state", lambda state: state["fold"]["folded"] > 0)
            assert served.chat()[0] == 200


def test_a_first_start_on_a_full_disk_says_what_is_wrong(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1024) as disk:
        (disk / "data").mkdir()
        config = write_config(tmp_path, SIMPLE + f"capture: {{directory: {disk / 'data'}}}\n")
        fill(disk)
        done = subprocess.run(
            [*SERVE, "--config", str(config)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode != 0
        assert "No space left on device; free some space there" in done.stderr
