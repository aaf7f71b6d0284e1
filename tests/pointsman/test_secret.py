"""Secrets are named, resolved at load, and never shown."""

from pathlib import Path

import pytest

from pointsman.decoding import Findings
from pointsman.document import parse
from pointsman.secret import Secret, decode_secret


def decoded(
    text: str, directory: Path = Path(), **environment: str
) -> tuple[Secret | None, list[str], list[str]]:
    findings = Findings()
    secret = decode_secret(
        parse(text, "f"), "the key", findings=findings, directory=directory, environment=environment
    )
    return secret, [str(e) for e in findings.errors], [str(w) for w in findings.warnings]


def test_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-file\n")
    from_environment, _, _ = decoded("{env: KEY}", KEY=" sk-env ")
    from_file, _, _ = decoded("{file: key}", tmp_path)
    assert from_environment is not None
    assert from_environment.reveal() == "sk-env"
    assert from_file is not None
    assert from_file.reveal() == "sk-file"


def test_does_not_show_its_value() -> None:
    secret = Secret("sk-1234", "env KEY")
    assert "1234" not in f"{secret} {secret!r}"
    assert "env KEY" in repr(secret)


@pytest.mark.parametrize("text", ["sk-1234567890", "'sk-1234567890'", "{env: sk-1234567890}"])
def test_a_literal_is_refused_without_being_repeated(text: str) -> None:
    secret, errors, _ = decoded(text)
    assert secret is None
    assert len(errors) == 1
    assert "1234567890" not in errors[0]


def test_what_is_missing_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    for text, word in (
        ("{env: KEY}", "KEY is not set"),
        ("{file: nowhere}", "No such file"),
        ("{file: empty}", "is empty"),
    ):
        secret, errors, warnings = decoded(text, tmp_path)
        assert (secret, errors) == (None, [])
        assert word in warnings[0]


@pytest.mark.parametrize("text", ["{}", "{env: A, file: b}", "{evn: A}"])
def test_says_what_it_wants(text: str) -> None:
    secret, errors, _ = decoded(text, A="x")
    assert secret is None
    assert any("either 'env' or 'file'" in error for error in errors)


def test_a_value_that_would_split_a_header_is_refused() -> None:
    secret, errors, _ = decoded("{env: KEY}", KEY="sk\r\nx-admin: 1")
    assert secret is None
    assert "no header may carry" in errors[0]
