"""`pointsman dataset`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from learning.example import ALLOWED as KNOWN
from proxy.cli.dataset import ALLOWED
from proxy.cli.program import cli
from tests.support.chats import chat, keep_chats
from tests.support.records import keep
from tests.support.simple_config import write_config


@pytest.fixture
def config(tmp_path: Path) -> Path:
    keep_chats(tmp_path / "data", 30)
    return write_config(tmp_path)


def run(config: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["dataset", *words, "--config", str(config)])


def test_offers_every_code_that_can_be_let_in() -> None:
    assert set(ALLOWED) == KNOWN


def test_builds_shows_and_lists(config: Path) -> None:
    built = run(config, "build", "d", "--test", "20%")
    assert built.exit_code == 0, built.output
    for words in ("d@1: 30 rows of 30 captures", "answers from: traffic 30", "groups, 0 on two"):
        assert words in built.output
    assert "d@1" in run(config, "list").output
    rows = config.parent / "data/datasets/d/1/rows.jsonl"
    assert rows.stat().st_mode & 0o077 == 0, "readable by its owner alone"
    shown = run(config, "show", "d")
    assert "First rows" in shown.output
    assert "Nothing new: d@1" in run(config, "build", "d", "--test", "20%").output


def test_programs_get_json(config: Path) -> None:
    assert json.loads(run(config, "build", "d", "--json").stdout)["n_rows"] == 30
    assert json.loads(run(config, "list", "--json").stdout)["id"] == "d@1"
    shown = json.loads(run(config, "show", "d", "--json", "--rows", "2").stdout)
    assert len(shown["first_rows"]) == 2


def test_a_row_is_traced_and_a_request_followed(config: Path) -> None:
    run(config, "build", "d")
    found = json.loads(run(config, "trace", "d@1:3").stdout)
    used = json.loads(run(config, "where-used", found["request_id"]).stdout)
    assert used["datasets"][0]["row"] == 3


def test_versions_are_compared_and_built_alike(config: Path) -> None:
    run(config, "build", "d", "--test", "20%")
    keep(config.parent / "data", [chat("new")])
    alike = json.loads(run(config, "build", "d", "--like", "d@1", "--json").stdout)
    assert alike["id"] == "d@2"
    text = run(config, "diff", "d@1", "d@2").output
    assert "1 rows more, 0 rows less" in text
    assert json.loads(run(config, "diff", "d@1", "d@2", "--json").stdout)["specification"] == {}


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("build", "d@2"), 2, "versions are numbered by themselves"),
        (("build", "d", "--test", "x"), 2, "--test"),
        (("build", "d", "--where", "nonsense"), 1, "--where 'nonsense'"),
        (("build", "d", "--route", "none"), 1, "no rows for d"),
        (("show", "none"), 1, "there is no data set none"),
        (("trace", "d"), 2, "write NAME@2:17"),
        (("build", "a b"), 1, "no data set's name"),
    ],
)
def test_clear_errors(config: Path, words: tuple[str, ...], code: int, text: str) -> None:
    result = run(config, *words)
    assert (result.exit_code, text in result.output) == (code, True), result.output


def test_options_reach_the_specification(config: Path) -> None:
    words = ("--labels", "ignore", "--allow", "refusal", "--prune-prefix", "--no-redact",
             "--holdout-days", "1", "--salt", "x", "--max-tokens", "500")  # fmt: skip
    assert run(config, "build", "d", *words).exit_code == 0
    from learning.dataset_spec import DatasetName
    from learning.dataset_store import spec_of

    spec = spec_of(config.parent / "data", DatasetName("d", 1))
    assert (spec.rules.labels, spec.rules.allow, spec.redact) == ("ignore", ("refusal",), False)
    assert (spec.split.holdout_days, spec.split.salt, spec.tokens_max) == (1.0, "x", 500)
