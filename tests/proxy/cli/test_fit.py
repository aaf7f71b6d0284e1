"""`pointsman fit`."""

import builtins
import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from policies.fitted_store import read_fitted
from proxy.cli.program import cli
from telemetry.fitted_file import fitted_path, load_fitted
from tests.proxy.test_locked import PROMISING, prove
from tests.support.labelled import asked, keep_labelled
from tests.support.simple_config import SIMPLE, write_config


def run(config: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["fit", "--config", str(config), *words])


def labelled(directory: Path, count: int = 200, text: str = SIMPLE) -> Path:
    """`quick` is seldom right about theorems; `other` is the teacher."""
    config = write_config(directory, text)
    data = directory / "data"
    data.mkdir(mode=0o700)
    chance = random.Random(0)
    records = []
    for number in range(count):
        is_hard = number % 2
        right = chance.random() < (0.2 if is_hard else 0.95)
        question = f"{'prove theorem' if is_hard else 'add number'} {number}"
        records.append(
            asked(question, "8" if right else "7", backend="quick", route="default", task="t")
        )
    keep_labelled(data, records, lambda _: "8", model="other")
    return config


def test_what_was_fitted_is_kept_beside_the_captures(tmp_path: Path) -> None:
    config = labelled(tmp_path)
    result = run(config)
    assert result.exit_code == 0, result.output
    data = load_fitted(tmp_path / "data")
    assert data is not None
    fitted = read_fitted(data)
    assert fitted.digest in result.output
    easy, hard = fitted.acceptable("add number 4", "t"), fitted.acceptable("prove theorem 5", "t")
    assert hard["quick"] < 0.5 < easy["quick"]
    assert easy["other"] > 0.99
    assert fitted.answers is not None


def test_explain_shows_the_chances(tmp_path: Path) -> None:
    config = labelled(tmp_path)
    run(config)
    body = '{"model": "auto", "messages": [{"role": "user", "content": "add number 4"}]}'
    words = ["explain", "--config", str(config), "--json", "--label", "task=t"]
    found = json.loads(CliRunner().invoke(cli, words, input=body).stdout)
    assert 0.5 < found["candidates"][0]["p_acceptable"] < 1.0
    empty = [*words, "--state", "empty"]
    found = json.loads(CliRunner().invoke(cli, empty, input=body).stdout)
    assert found["candidates"][0]["p_acceptable"] is None


def test_programs_get_json(tmp_path: Path) -> None:
    found = json.loads(run(labelled(tmp_path), "--json", "--since", "1h").stdout)
    assert set(found) == {"digest", "bytes", "labels", "backends", "answers"}
    assert set(found["backends"]) == {"quick", "other"}


def test_too_few_labels_say_how_many_more_and_change_nothing(tmp_path: Path) -> None:
    config = labelled(tmp_path, 20)
    result = run(config)
    assert result.exit_code == 1
    assert "too few to fit on" in result.output
    assert not fitted_path(tmp_path / "data").exists()


def test_no_label_at_all_says_where_they_come_from(tmp_path: Path) -> None:
    result = run(labelled(tmp_path, 0))
    assert result.exit_code == 1
    assert "pointsman label" in result.output


def test_promises_that_rest_on_other_models_are_told(tmp_path: Path) -> None:
    config = labelled(tmp_path, text=PROMISING)
    prove(config, model="0123456789abcdef")
    result = run(config)
    assert "void until proved anew, the reference answers: default" in result.output


def test_an_unknown_route_is_wrong_usage(tmp_path: Path) -> None:
    assert run(labelled(tmp_path, 0), "--route", "none").exit_code == 2


def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = labelled(tmp_path, 0)
    original = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "learning.fit_captures":
            raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    result = run(config)
    assert result.exit_code == 2
    assert "pointsman[fit]" in result.output
