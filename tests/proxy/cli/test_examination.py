"""What `doctor` finds."""

import os
from pathlib import Path

import pytest

from proxy.cli import examination
from proxy.cli.examination import Finding
from proxy.configuration import load_configuration
from proxy.listening import Address
from proxy.running import Running
from tests.support.simple_config import SIMPLE, write_config


def verdicts(found: object) -> list[str]:
    return [finding.verdict for finding in found]  # type: ignore[attr-defined]


def test_a_package_of_ours_that_another_distribution_owns_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert verdicts(examination.shadowed_packages()) == ["ok"]
    owners = {"proxy": ["pointsman", "proxy.py"]}
    monkeypatch.setattr("importlib.metadata.packages_distributions", lambda: owners)
    (finding,) = examination.shadowed_packages()
    assert (finding.verdict, "proxy.py" in finding.detail) == ("wrong", True)


def test_data_open_to_others_is_wrong(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    assert verdicts(examination.permissions(directory)) == ["note"]
    directory.mkdir(mode=0o700)
    assert verdicts(examination.permissions(directory)) == ["ok"]
    (directory / "capture.db").write_bytes(b"")
    (directory / "capture.db").chmod(0o644)
    (finding,) = examination.permissions(directory)
    assert (finding.verdict, "chmod 600" in finding.detail) == ("wrong", True)


def test_a_disk_that_is_nearly_full_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 50 << 20

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
    assert verdicts(examination.disk(tmp_path / "not" / "there")) == ["wrong"]


def test_a_taken_port_is_wrong_when_nobody_of_ours_serves(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        text = SIMPLE.replace("listen: 127.0.0.1:0", f"listen: 127.0.0.1:{port}")
        configuration = load_configuration(write_config(tmp_path, text))
        assert verdicts(examination.ports(configuration, None)) == ["wrong", "ok"]


def test_a_server_that_does_not_answer_is_wrong(tmp_path: Path) -> None:
    configuration = load_configuration(write_config(tmp_path))
    running = Running(os.getpid(), "127.0.0.1:1", str(Address("127.0.0.1", 1)), 1, "")
    assert verdicts(examination.ports(configuration, running)) == ["ok", "wrong"]


def test_records_that_were_lost_are_wrong() -> None:
    whole = "# TYPE x counter\npointsman_capture_written_total 5\n"
    assert verdicts(examination.lost_records(whole)) == ["ok"]
    (finding,) = examination.lost_records(whole + "pointsman_capture_dropped_total 2\n")
    assert (finding.verdict, finding.detail.split()[0]) == ("wrong", "2")


def test_no_keys_are_a_note_and_unusable_ones_wrong(tmp_path: Path) -> None:
    plain = load_configuration(write_config(tmp_path))
    assert verdicts(examination.keys(plain)) == ["note"]
    asking = load_configuration(write_config(tmp_path, SIMPLE + "keys: {file: keys.yaml}\n"))
    assert verdicts(examination.keys(asking)) == ["note"]
    (tmp_path / "keys.yaml").write_text("nonsense")
    assert verdicts(examination.keys(asking)) == ["wrong"]


def test_a_config_that_cannot_be_used_ends_the_examination(tmp_path: Path) -> None:
    found = examination.examine(write_config(tmp_path, "nonsense"))
    assert found[-1].subject == "configuration"
    assert found[-1].verdict == "wrong"
    assert isinstance(found[-1], Finding)


def test_knows_who_is_alive() -> None:
    assert examination.is_alive(os.getpid())
    assert not examination.is_alive(2**22 - 1)
