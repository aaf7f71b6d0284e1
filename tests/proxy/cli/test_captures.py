"""`pointsman captures`."""

import json
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result

from proxy.cli.program import cli
from tests.support.kept import ANSWER, config_with, kept

FOLLOW = (sys.executable, "-m", "proxy.cli", "captures", "--json", "--follow")


def captures(config: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["captures", "--config", str(config), *words])


def listed(config: Path, *words: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in captures(config, "--json", *words).stdout.splitlines()]


def test_sees_what_nobody_has_folded_oldest_first(tmp_path: Path) -> None:
    records = [kept() for _ in range(3)]
    found = listed(config_with(tmp_path, *records))
    assert [capture["id"] for capture in found] == [record.id for record in records]


def test_limit_takes_the_newest_and_route_only_its_own(tmp_path: Path) -> None:
    records = [kept(), kept(route="other"), kept()]
    config = config_with(tmp_path, *records)
    assert [capture["id"] for capture in listed(config, "--limit", "1")] == [records[2].id]
    assert [capture["id"] for capture in listed(config, "--route", "other")] == [records[1].id]
    assert listed(config, "--since", "1h") == listed(config)


def test_labels_narrow_it_down(tmp_path: Path) -> None:
    records = [kept(labels={"task": "one", "team": "red"}), kept(labels={"task": "two"})]
    config = config_with(tmp_path, *records)
    assert [capture["id"] for capture in listed(config, "--label", "TASK=two")] == [records[1].id]
    both = ("--label", "task=one", "--label", "team=red")
    assert [capture["id"] for capture in listed(config, *both)] == [records[0].id]
    assert listed(config, "--label", "task=o=ne") == []
    result = captures(config, "--label", "task")
    assert (result.exit_code, "'task' is not NAME=VALUE" in result.output) == (2, True)


def test_bodies_come_when_asked_for_and_only_as_json(tmp_path: Path) -> None:
    config = config_with(tmp_path, kept())
    assert "response" not in listed(config)[0]
    assert listed(config, "--bodies")[0]["response"] == ANSWER.decode()
    assert captures(config, "--bodies").exit_code == 2


def test_people_get_a_table(tmp_path: Path) -> None:
    output = captures(config_with(tmp_path, kept())).output
    assert "Captures" in output
    assert "$0.002" in output


def test_a_span_that_is_none_is_wrong_usage(tmp_path: Path) -> None:
    result = captures(config_with(tmp_path), "--since", "yesterday")
    assert (result.exit_code, "not a duration" in result.output) == (2, True)


def test_follow_shows_what_comes(tmp_path: Path) -> None:
    config = config_with(tmp_path, kept())
    process = subprocess.Popen(
        [*FOLLOW, "--config", str(config)],
        cwd=Path(__file__).resolve().parents[3],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        second = kept()
        subprocess.run([sys.executable, "-c", WRITE, str(tmp_path / "data"), second.id], check=True)
        assert json.loads(process.stdout.readline())["id"] == second.id
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


WRITE = """
import sys, time
from pathlib import Path
from tests.support.kept import kept
from tests.support.answered import write
time.sleep(0.5)
write(Path(sys.argv[1]), [kept(id=sys.argv[2])])
"""
