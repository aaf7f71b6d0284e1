"""`pointsman calibrate`."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from proxy.cli.program import cli
from proxy.configuration import load_configuration
from tests.support.kept import config_with, kept
from tests.support.labelled import asked, keep_labelled
from tests.support.simple_config import SIMPLE, write_config

PROMISING = SIMPLE.replace(
    "default: {candidates: [quick]}",
    "default: {candidates: [quick], require: {error: {max: 9%, reference: other}}WORDS}",
)
CASCADE = ", confidence: {from: [logprobs], accept: calibrated}, escalate: {to: ESCALATE}"


def run(config: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["calibrate", "--config", str(config), *words])


def locked(config: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(config.with_name("config.lock.json").read_text())
    return found


def labelled(
    directory: Path, *, words: str = CASCADE, to: str = "other", count: int = 100, wrong: int = 5
) -> Path:
    """Answers of `quick` with labels of `other`: the first `wrong` are wrong and unsure."""
    config = write_config(directory, PROMISING.replace("WORDS", words.replace("ESCALATE", to)))
    data = directory / "data"
    data.mkdir(mode=0o700)
    records = [
        asked(
            f"question {number}",
            "7" if number < wrong else "8",
            backend="quick",
            route="default",
            confidence=0.3 if number < wrong else 0.9,
        )
        for number in range(count)
    ]
    keep_labelled(data, records, lambda _: "8", model="other")
    return config


def test_without_labels_nothing_is_promised(tmp_path: Path) -> None:
    config = config_with(tmp_path, kept())
    config.write_text(PROMISING.replace("WORDS", ""))
    result = run(config)
    assert result.exit_code == 1
    assert "no promise: no answer of the route is labelled" in result.output
    assert locked(config)["routes"] == {}


def test_a_proof_is_written_beside_the_configuration_and_counts(tmp_path: Path) -> None:
    config = labelled(tmp_path, wrong=20)
    result = run(config)
    assert result.exit_code == 0, result.output
    assert "certified at 95.0%: error at most 9.0%" in result.output
    lock = locked(config)["routes"]["default"]
    assert (lock["labels"], lock["errors"]) == (100, 0)
    assert 0.3 < lock["accept"] <= 0.9
    assert set(load_configuration(config).promises.certified) == {"default"}


def test_calibrating_again_keeps_what_was_in_force_before(tmp_path: Path) -> None:
    config = labelled(tmp_path, wrong=20)
    run(config)
    before = locked(config)["routes"]["default"]
    run(config, "--route", "default", "--since", "1h")
    after = locked(config)
    assert after["former"] == {"default": before}
    assert after["routes"]["default"]["made_us"] > before["made_us"]


def test_all_or_nothing_where_nothing_can_be_asked_again(tmp_path: Path) -> None:
    config = labelled(tmp_path, words="", wrong=1)
    assert run(config).exit_code == 0
    assert locked(config)["routes"]["default"]["accept"] == 0.0


def test_who_unsure_answers_go_to_must_be_labelled_as_well(tmp_path: Path) -> None:
    config = labelled(tmp_path, wrong=20)
    config.write_text(
        config.read_text()
        .replace("escalate: {to: other}", "escalate: {to: [third, other]}")
        .replace("routes:", "  third: {adapter: simulated, profile: {like: gpt-4}}\nroutes:")
    )
    result = run(config)
    assert "the reference answers everything" in result.output
    assert "100 of 100 labels say nothing of third" in result.output
    assert "name other first in escalate.to" in result.output


def test_programs_get_json(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["calibrate", "--config", str(labelled(tmp_path)), "--json"])
    found = json.loads(result.stdout.splitlines()[-1])
    assert (found["route"], found["refused"], found["method"]) == ("default", False, "confidence")
    assert found["left_out"] == {}


def test_what_others_answered_is_left_out_and_said(tmp_path: Path) -> None:
    config = labelled(tmp_path)
    third = "  third: {adapter: simulated, profile: {like: gpt-4}}\nroutes:"
    config.write_text(
        config.read_text()
        .replace("candidates: [quick]", "candidates: [third]")
        .replace("routes:", third)
    )
    result = run(config)
    assert result.exit_code == 1
    assert "100 captures left out: answered first by another backend" in result.output


def test_a_lock_that_cannot_be_read_is_written_anew(tmp_path: Path) -> None:
    config = labelled(tmp_path)
    config.with_name("config.lock.json").write_text("{")
    result = run(config)
    assert result.exit_code == 0
    assert "written anew" in result.output
    assert set(locked(config)["routes"]) == {"default"}


@pytest.mark.parametrize("words", [(), ("--route", "none")])
def test_routes_without_a_promise_are_wrong_usage(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert run(config_with(tmp_path, kept()), *words).exit_code == 2
