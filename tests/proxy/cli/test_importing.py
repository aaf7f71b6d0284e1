"""`pointsman import`."""

import json
from pathlib import Path

from click.testing import CliRunner, Result

from proxy.cli.program import cli
from tests.support.simple_config import write_config

GOOD = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'


def run(directory: Path, text: str, *words: str) -> Result:
    file = directory / "in.jsonl"
    file.write_text(text)
    config = write_config(directory)
    return CliRunner().invoke(cli, ["import", str(file), "--config", str(config), *words])


def test_says_what_was_imported_under_which_name(tmp_path: Path) -> None:
    result = run(tmp_path, GOOD)
    assert (result.exit_code, result.output) == (
        0, "1 rows imported as import:in.jsonl, 0 left out\n",
    )  # fmt: skip


def test_a_bad_row_is_named_with_its_reason(tmp_path: Path) -> None:
    result = run(tmp_path, GOOD + "{\n", "--source", "old")
    assert result.exit_code == 1
    assert "in.jsonl:2: not JSON" in result.stderr
    assert "1 rows imported as old, 1 left out" in result.stdout


def test_programs_get_the_report(tmp_path: Path) -> None:
    report = json.loads(run(tmp_path, GOOD + "[]\n", "--json").stdout)
    assert (report["rows"], report["bad"], report["faults"][0]["row"]) == (1, 1, 2)


def test_a_missing_file_is_wrong_usage(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    result = CliRunner().invoke(cli, ["import", "nowhere.jsonl", "--config", str(config)])
    assert result.exit_code == 2
