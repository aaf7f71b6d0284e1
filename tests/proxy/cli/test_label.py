"""`pointsman label`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.cli.program import cli
from tests.support.answered import write
from tests.support.backends import answering, config_text, questions
from tests.support.kept import kept


@pytest.fixture
def config(tmp_path: Path) -> Path:
    asked = questions(4)
    path = tmp_path / "config.yaml"
    path.write_text(config_text(answering(tmp_path, asked), teacher="error_rate: 0%"))
    (tmp_path / "data").mkdir(mode=0o700)
    bodies = [json.dumps({"model": "m", **q.body}).encode() for q in asked]
    write(tmp_path / "data", [kept(request=body) for body in bodies])
    return path


def run(config: Path, *words: str, text: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["label", "--config", str(config), *words], input=text)


def ask(config: Path, *words: str, text: str | None = None) -> Result:
    return run(config, "--teacher", "teacher", "--budget", "5", *words, text=text)


def test_asks_about_the_terms_once(config: Path) -> None:
    refused = ask(config, text="n\n")
    assert refused.exit_code == 1
    assert "permit training other models" in refused.stderr
    agreed = ask(config, text="y\n")
    assert (agreed.exit_code, "4 labelled" in agreed.stdout) == (0, True)
    assert "4 known before" in ask(config).stdout


def test_programs_get_the_report(config: Path) -> None:
    found = json.loads(ask(config, "--yes", "--json").stdout)
    assert (found["report"]["labelled"], found["is_trouble"]) == (4, False)


def test_a_batch_out_and_back(config: Path, tmp_path: Path) -> None:
    out, back = tmp_path / "out.jsonl", tmp_path / "back.jsonl"
    assert "4 questions" in ask(config, "--yes", "--to-batch", str(out)).stdout
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    answer = {"choices": [{"message": {"content": "7"}, "finish_reason": "stop"}]}
    body = {"status_code": 200, "body": answer}
    lines = [json.dumps({"custom_id": row["custom_id"], "response": body}) for row in rows[:3]]
    back.write_text("\n".join([*lines, "{"]))
    result = ask(config, "--from-batch", str(back))
    assert (result.exit_code, "3 labelled, 1 still waiting" in result.stdout) == (1, True)
    assert "back.jsonl:4:" in result.stderr
    assert "1 open questions given up" in ask(config, "--abandon-batches").stdout


def test_disputes_out_and_verdicts_in(config: Path, tmp_path: Path) -> None:
    ask(config, "--yes")
    file = tmp_path / "decide.jsonl"
    assert "4 rows to decide" in run(config, "--disputed", str(file)).stdout
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text(json.dumps({**rows[0], "answer": "5"}) + "\n{}\n")
    result = run(config, "--verdicts", str(file))
    assert (result.exit_code, "1 decided" in result.stdout) == (1, True)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--budget", "5"), "--teacher must name a backend; known: teacher"),
        (("--teacher", "teacher"), "--budget is needed"),
        (("--teacher", "teacher", "--budget", "5", "--samples-on", "x"), "--samples-on"),
        (("--teacher", "teacher", "--budget", "5", "--timeout", "x"), "--timeout"),
    ],
)
def test_wrong_usage_is_told(config: Path, words: tuple[str, ...], text: str) -> None:
    result = run(config, *words)
    assert (result.exit_code, text in result.output) == (2, True)


def test_troubles_of_files_and_conditions_are_told(config: Path, tmp_path: Path) -> None:
    result = run(config, "--verdicts", str(tmp_path / "none.jsonl"))
    assert (result.exit_code, "none.jsonl: No such file" in result.output) == (1, True)
    result = run(config, "--disputed", str(tmp_path / "d"), "--where", "nonsense")
    assert (result.exit_code, "--where 'nonsense'" in result.output) == (1, True)


def test_a_budget_that_does_not_reach_is_exit_code_1(config: Path) -> None:
    result = run(config, "--teacher", "teacher", "--budget", "0.001", "--yes")
    assert (result.exit_code, "left undone" in result.stdout) == (1, True)
