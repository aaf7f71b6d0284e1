from pathlib import Path

import pytest

from pointsman.decoding import Findings
from pointsman.document import parse
from telemetry.config import CaptureConfig, load_capture

HERE = Path("/somewhere")


def load(text):
    findings = Findings()
    config = load_capture(parse(text, "c.yaml"), findings=findings, directory=HERE)
    return config, [str(problem) for problem in findings.errors]


def test_reads_the_documented_section():
    config, errors = load(
        "{directory: ./data, durability: process, on_error: fail_open, keep: 30d}"
    )
    assert errors == []
    assert config == CaptureConfig(HERE / "data", "process", "fail_open", 30 * 86400.0)


def test_has_defaults_that_lose_nothing_to_a_killed_process():
    missing = load_capture(None, findings=Findings(), directory=HERE)
    assert missing == load("{}")[0] == CaptureConfig(HERE / "data")


def test_keeps_for_ever_and_takes_absolute_paths():
    config, errors = load("{directory: /var/lib/p, durability: power, keep: forever}")
    assert errors == []
    assert (config.directory, config.keep_s) == (Path("/var/lib/p"), None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{durabilty: power}", "c.yaml:1:2: unknown key 'durabilty' in capture"),
        ("{durability: disk}", "'disk' is not one of process, power"),
        ("{on_error: fail}", "'fail' is not one of"),
        ("{keep: 30}", "'30' is not a duration"),
        ("{keep: 2h}", "shorter than a day"),
        ("{directory: ''}", "expected a path"),
        ("[]", "capture must be a mapping"),
    ],
)
def test_says_what_is_wrong_and_where(text, message):
    _, errors = load(text)
    assert len(errors) == 1
    assert message in errors[0]
