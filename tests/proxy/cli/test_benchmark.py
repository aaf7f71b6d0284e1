"""`pointsman benchmark`."""

import json
from pathlib import Path

from click.testing import CliRunner, Result

from learning.answer_match import COMPARISONS
from proxy.cli.benchmark import COMPARISON_NAMES
from proxy.cli.program import cli
from tests.support.answered import write
from tests.support.backends import answering, config_text, questions
from tests.support.kept import kept


def setup(directory: Path, count: int = 12) -> Path:
    asked = questions(count)
    answers = answering(directory, asked)
    config = directory / "config.yaml"
    config.write_text(config_text(answers, right="error_rate: 0%", wrong="error_rate: 100%"))
    (directory / "set.jsonl").write_text(
        "".join(json.dumps({**q.body, "expected": json.loads(q.expected or "")}) + "\n"
                for q in asked)
    )  # fmt: skip
    return config


def run(config: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["benchmark", "--config", str(config), *words])


def run_set(config: Path, *words: str) -> Result:
    return run(config, "--set", str(config.parent / "set.jsonl"), *words)


def test_offers_every_comparison_there_is() -> None:
    assert tuple(COMPARISONS) == COMPARISON_NAMES


def test_ends_with_a_verdict_and_the_next_commands(tmp_path: Path) -> None:
    result = run_set(setup(tmp_path), "--route", "default", "--pairs", "wrong", "right")
    assert result.exit_code == 0, result.output
    for words in ("0.0%", "100.0%", "late", "Paired tests", "Verdict:", "Next:",
                  "fixes 12, breaks 0", "right / wrong"):  # fmt: skip
        assert words in result.output, words


def test_programs_get_everything(tmp_path: Path) -> None:
    config = setup(tmp_path)
    found = json.loads(run_set(config, "--json").stdout)
    assert [r["backend"] for r in found["results"]] == ["right", "wrong"]
    assert [r["n_err"] for r in found["results"]] == [0, 12]
    assert found["facts"]["asked now"] == "24"
    assert json.loads(run_set(config, "--json").stdout)["facts"]["asked now"] == "0"
    again = json.loads(run_set(config, "--json", "--fresh").stdout)
    assert again["facts"]["asked now"] == "24"


def test_writes_a_page(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert run_set(setup(tmp_path), "--html", str(page)).exit_code == 0
    assert "<svg" in page.read_text()
    nowhere = tmp_path / "none" / "r.html"
    result = run_set(tmp_path / "config.yaml", "--html", str(nowhere))
    assert (result.exit_code, "cannot be written" in result.output) == (1, True)


def test_captures_are_asked_again_against_a_reference(tmp_path: Path) -> None:
    config = setup(tmp_path)
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    write(data, [kept(request=json.dumps({"model": "m", **q.body}).encode())
                 for q in questions(4)])  # fmt: skip
    found = json.loads(run(config, "--reference", "right", "--json").stdout)
    right, wrong = found["results"]
    assert (right["is_reference"], wrong["n_err"]) == (True, 4)


def test_stops_at_its_budget_and_says_so(tmp_path: Path) -> None:
    result = run_set(setup(tmp_path), "--budget", "0.0001")
    assert result.exit_code == 1
    assert "stopped at the budget" in result.stderr


def test_clear_errors(tmp_path: Path) -> None:
    config = setup(tmp_path)
    for words, code, text in (
        (("--backend", "none"), 2, "known: right, wrong"),
        (("--route", "none"), 2, "known: default"),
        (("--timeout", "soon"), 2, "--timeout"),
        ((), 1, "no captures to ask again"),
    ):
        result = run(config, *words)
        assert (result.exit_code, text in result.output) == (code, True), result.output
