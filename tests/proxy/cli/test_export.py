"""`pointsman export`."""

import json
import stat
from pathlib import Path

from click.testing import CliRunner, Result

from learning.export import FORMAT_NAMES as KNOWN
from proxy.cli.export import FORMAT_NAMES
from proxy.cli.program import cli
from tests.support.chats import keep_chats
from tests.support.kept import config_with, kept
from tests.support.simple_config import write_config


def export(config: Path, output: Path, *words: str) -> Result:
    words = ("--format", "openai-chat", *words)
    return CliRunner().invoke(
        cli, ["export", "--config", str(config), "--output", str(output), *words]
    )


def test_offers_every_format_there_is() -> None:
    assert set(FORMAT_NAMES) == set(KNOWN)


def test_writes_completed_answers_and_says_what_it_left_out(tmp_path: Path) -> None:
    cut = kept(status="upstream_cut", complete=False)
    config = config_with(tmp_path, kept(), cut, kept(status="client_gone", complete=False))
    output = tmp_path / "dataset.jsonl"
    result = export(config, output)
    assert result.exit_code == 0
    (row,) = [json.loads(line) for line in output.read_text().splitlines()]
    assert row["messages"][-1]["content"] == "hi"
    assert "1 rows" in result.output
    assert "cut_stream" in result.output
    assert "client_gone" in result.output
    assert stat.S_IMODE(output.stat().st_mode) == 0o600


def test_programs_get_the_report(tmp_path: Path) -> None:
    config = config_with(tmp_path, kept(), kept(status="error", complete=False))
    result = export(config, tmp_path / "o", "--json")
    report = json.loads(result.stdout)
    assert (report["rows"], report["excluded"]) == (1, {"failed": 1})


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    output = tmp_path / "none" / "o"
    result = export(config_with(tmp_path, kept()), output)
    assert (result.exit_code, f"{output} cannot be written" in result.output) == (1, True)


def test_formats_are_checked(tmp_path: Path) -> None:
    config = config_with(tmp_path)
    assert export(config, tmp_path / "o", "--format", "csv").exit_code == 2


def test_a_data_set_is_exported_by_its_name(tmp_path: Path) -> None:
    keep_chats(tmp_path / "data", 12)
    config = write_config(tmp_path)
    built = CliRunner().invoke(cli, ["dataset", "build", "d", "--config", str(config)])
    assert built.exit_code == 0, built.output
    output = tmp_path / "train.jsonl"
    result = export(config, output, "--dataset", "d@1", "--split", "train", "--split", "valid")
    assert result.exit_code == 0, result.output
    assert "beside it: train.jsonl.lineage.parquet" in result.output
    missing = export(config, output, "--dataset", "none")
    assert (missing.exit_code, "there is no data set none" in missing.output) == (1, True)
