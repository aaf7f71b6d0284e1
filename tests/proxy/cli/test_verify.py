"""`pointsman verify`."""

import json
from pathlib import Path

from click.testing import CliRunner, Result

from proxy.cli.program import cli
from tests.support.kept import config_with, kept


def verify(config: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["verify", "--config", str(config), *words])


def test_what_is_whole_is_exit_code_0(tmp_path: Path) -> None:
    config = config_with(tmp_path, kept(), kept())
    result = verify(config, "--deep")
    assert (result.exit_code, result.output.startswith("2 records, ")) == (0, True)
    assert json.loads(verify(config, "--json").output)["whole"] is True


def test_a_flipped_bit_is_found_and_is_exit_code_1(tmp_path: Path) -> None:
    config = config_with(tmp_path, kept(), kept())
    (segment,) = (tmp_path / "data" / "journal").glob("*.seg")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 0x40
    segment.write_bytes(data)
    result = verify(config)
    assert (result.exit_code, "PROBLEM: " in result.output) == (1, True)
