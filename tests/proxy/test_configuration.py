"""Sections put together: the documented example, cross-checks, and all faults in one run."""

from pathlib import Path

import pytest

from pointsman.errors import ConfigError
from proxy.configuration import Configuration, load_configuration, parse_configuration
from proxy.listening import Address
from tests.support.certificates import make_certificates

MINIMAL = """\
backends:
  a: {adapter: openai, base_url: http://127.0.0.1:1/v1, model: m}
routes:
  default: {candidates: [a]}
"""


def parse(text: str, directory: Path, **environment: str) -> Configuration:
    return parse_configuration(text, file=directory / "config.yaml", environment=environment)


def problems(text: str, directory: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, directory)
    return [
        f"{problem.line}:{problem.column}: {problem.message}" for problem in caught.value.problems
    ]


def test_the_smallest_file_has_every_default(tmp_path: Path) -> None:
    configuration = parse(MINIMAL, tmp_path)
    assert configuration.listen.address == Address("127.0.0.1", 8080)
    assert configuration.admin.address == Address("127.0.0.1", 8081)
    assert configuration.limits.body_bytes == 20 << 20
    assert configuration.limits.in_flight == 20_000
    assert configuration.capture.directory == tmp_path / "data"
    assert configuration.keys_file is None
    assert configuration.warnings == ()
    assert configuration.policy.default.candidates == ("a",)


def test_relative_paths_start_from_the_files_own_folder(tmp_path: Path) -> None:
    text = MINIMAL + "keys: {file: secrets/keys.yaml}\ncapture: {directory: ../kept}\n"
    configuration = parse(text, tmp_path)
    assert configuration.keys_file == tmp_path / "secrets/keys.yaml"
    assert configuration.capture.directory == tmp_path / "../kept"


def test_a_missing_keys_file_and_unset_names_are_warnings(tmp_path: Path) -> None:
    text = MINIMAL.replace("model: m", "model: m, api_key: {env: NOT_SET}")
    configuration = parse(text + "keys: {file: keys.yaml}\n", tmp_path)
    messages = [warning.message for warning in configuration.warnings]
    assert any("NOT_SET" in message for message in messages)
    assert any("pointsman key create" in message for message in messages)


def test_an_open_port_needs_keys(tmp_path: Path) -> None:
    text = MINIMAL + "listen: 0.0.0.0:8080\n"
    assert "without keys" in problems(text, tmp_path)[0]
    parse(text + "keys: {file: keys.yaml}\n", tmp_path)


def test_both_listeners_cannot_have_one_address(tmp_path: Path) -> None:
    found = problems(MINIMAL + "listen: 127.0.0.1:8081\n", tmp_path)
    assert found == ["1:1: admin and listen are both 127.0.0.1:8081"]
    parse(MINIMAL + "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n", tmp_path)


def test_all_rooms_report_in_one_run_in_file_order(tmp_path: Path) -> None:
    text = (
        "listen: nowhere\n"
        "limits: {body: much}\n"
        "capture: {durability: hope}\n"
        "backends:\n"
        "  a: {adapter: openai, base_url: ftp://x, model: m}\n"
        "routes:\n"
        "  default: {candidates: [b]}\n"
        "colour: red\n"
    )
    found = problems(text, tmp_path)
    assert [problem.split(":")[0] for problem in found] == ["1", "2", "3", "5", "7", "8"]


def test_a_missing_file_says_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pointsman init"):
        load_configuration(tmp_path / "none.yaml")


def test_the_digest_is_of_the_text_and_the_policys_of_its_meaning(tmp_path: Path) -> None:
    plain, commented = parse(MINIMAL, tmp_path), parse(MINIMAL + "# comment\n", tmp_path)
    assert plain.digest != commented.digest
    assert plain.policy.digest == commented.policy.digest


def test_paths_that_pass_through_and_vectors_are_in_effect(tmp_path: Path) -> None:
    text = MINIMAL.replace("model: m", "model: m, vectors: v")
    text += 'passthrough: [{path: "/v1/files*", backend: a}]\n'
    found = parse(text, tmp_path)
    assert found.warnings == ()
    assert [rule.path for rule in found.passthrough] == ["/v1/files*"]
    assert found.policy.backends["a"].vectors == "v"


def test_simulated_backends_get_the_simulators_address(tmp_path: Path) -> None:
    text = MINIMAL.replace("routes:", "  s: {adapter: simulated, profile: gpt-4}\nroutes:")
    configuration = parse(text, tmp_path)
    assert list(configuration.simulated) == ["s"]
    moved = configuration.with_simulator(Address("127.0.0.1", 9))
    assert (moved.backends["s"].host, moved.backends["s"].port) == ("127.0.0.1", 9)
    assert moved.backends["a"] == configuration.backends["a"]


def test_no_secret_shows_in_a_representation(tmp_path: Path) -> None:
    text = MINIMAL.replace("model: m", "model: m, api_key: {env: NAME}")
    configuration = parse(text, tmp_path, NAME="sk-canary")
    assert configuration.backends["a"].api_key is not None
    assert "sk-canary" not in repr(configuration)


def test_a_ca_file_that_is_none_is_found_at_load(tmp_path: Path) -> None:
    text = MINIMAL.replace("http://127.0.0.1:1/v1", "https://127.0.0.1:1/v1").replace(
        "model: m", "model: m, tls: {ca: ca.pem}"
    )
    (tmp_path / "ca.pem").write_text("nonsense")
    (found,) = problems(text, tmp_path)
    assert (found.split(":")[0], "cannot be used" in found) == ("2", True)
    make_certificates(tmp_path)
    parse(text, tmp_path)


def test_a_certificate_with_anothers_key_is_found_at_load(tmp_path: Path) -> None:
    text = "listen: {address: 127.0.0.1:1, tls: {certificate: server.pem, key: server.key}}\n"
    make_certificates(tmp_path)
    parse(text + MINIMAL, tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    make_certificates(other)
    (other / "server.key").replace(tmp_path / "server.key")
    (found,) = problems(text + MINIMAL, tmp_path)
    assert found.startswith("1:38: tls: cannot be used: ")
