"""The section `backends:`."""

import pickle
from pathlib import Path

import pytest

from adapters.backend import Backend
from adapters.declared import load_backends
from pointsman.decoding import Findings
from pointsman.document import parse
from pointsman.tokens import Price

SECRET = "sk-never-shown"


def loaded(text: str, directory: Path = Path()) -> tuple[dict[str, Backend], Findings]:
    findings = Findings()
    backends = load_backends(
        parse(text, "config.yaml"),
        findings=findings,
        directory=directory,
        environment={"OPENAI_API_KEY": SECRET},
    )
    return backends, findings


def one(text: str, directory: Path = Path()) -> Backend:
    backends, findings = loaded(f"b: {text}", directory)
    assert findings.errors == []
    return backends["b"]


def test_a_hosted_model_as_the_documents_write_it() -> None:
    backend = one(
        "{adapter: openai, base_url: https://api.openai.com/v1, model: o3-mini,"
        " api_key: {env: OPENAI_API_KEY}, price: {input: 1.10, cached_input: 0.55, output: 4.40},"
        " reasoning: true}"
    )
    assert (backend.scheme, backend.host, backend.port) == ("https", "api.openai.com", 443)
    assert backend.path_prefix == "/v1"
    assert backend.model == "o3-mini"
    assert backend.is_reasoning
    assert not backend.has_logprobs
    assert not backend.is_simulated
    assert backend.api_key is not None
    assert backend.api_key.reveal() == SECRET
    assert SECRET not in repr(backend)


def test_a_machine_of_ones_own_as_the_documents_write_it() -> None:
    backend = one(
        "{adapter: openai, base_url: http://127.0.0.1:8000/v1, model: liability-8b,"
        " price: {per_hour: 1.80}, logprobs: true,"
        " expect: {first_token: 40ms, tokens_per_second: 90}}"
    )
    assert backend.price == Price(per_hour=1.80)
    assert backend.has_logprobs
    assert (backend.first_token_s, backend.tokens_per_second) == (0.04, 90.0)
    assert backend.completion_tokens is None


def test_the_other_switches() -> None:
    backend = one(
        "{adapter: openai, base_url: http://h/v1, vectors: small, strip_metadata: true,"
        " hidden: true, in_flight: 8, include_usage: false}"
    )
    assert backend.model == "b"
    assert backend.vectors == "small"
    assert backend.strip_metadata
    assert backend.hidden
    assert backend.in_flight_max == 8
    assert not backend.include_usage


def test_a_known_model_without_a_price_has_its_list_price() -> None:
    backend = one("{adapter: openai, base_url: http://h/v1, model: gpt-4}")
    assert backend.price == Price(input=30.0, output=60.0)
    assert backend.price_source == "list"
    assert backend.price_version
    unknown = one("{adapter: openai, base_url: http://h/v1, model: mine}")
    assert (unknown.price, unknown.price_source, unknown.price_version) == (None, None, None)


def test_a_simulated_backend_takes_its_profiles_abilities() -> None:
    backend = one("{adapter: simulated, profile: o3-mini}")
    assert backend.is_simulated
    assert backend.model == "o3-mini"
    assert backend.is_reasoning
    assert not backend.has_logprobs
    assert backend.price == Price(input=1.10, output=4.40, cached_input=0.55)
    assert backend.host is None
    assert one("{adapter: simulated, profile: local}").price == Price(per_hour=1.80)


def test_a_certificate_authority_is_found_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    text = "{adapter: openai, base_url: https://h/v1, tls: {ca: ca.pem}}"
    assert one(text, tmp_path).ca_file == tmp_path / "ca.pem"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("b: {base_url: http://h/v1}", "needs 'adapter'"),
        ("b: {adapter: opneai, base_url: http://h/v1}", "did you mean 'openai'"),
        ("b: {adapter: openai}", "needs 'base_url'"),
        ("b: {adapter: openai, base_url: http://h/v1, prise: {}}", "did you mean 'price'"),
        ("b: {adapter: openai, base_url: http://u:p@h/v1}", "no user or password"),
        ("b: {adapter: openai, base_url: http://2130706433/v1}", "four decimal numbers"),
        ("b: {adapter: openai, base_url: file:///etc/passwd}", "must begin with http"),
        ("b: {adapter: openai, base_url: http://h/v1, api_key: sk-x}", "must not stand in"),
        ("b: {adapter: openai, base_url: http://h/v1, tls: {ca: x}}", "does not use https"),
        ("b: {adapter: openai, base_url: https://h/v1, tls: {ca: nowhere}}", "no file"),
        ("b: {adapter: simulated, profile: gpt4}", "did you mean 'gpt-4'"),
        ("b: {adapter: simulated, profile: local, base_url: http://h/v1}", "unknown key"),
        ("b: {adapter: openai, base_url: http://h/v1, in_flight: 0}", "below 1"),
        ("auto: {adapter: openai, base_url: http://h/v1}", "cannot be a backend's name"),
        ("'a b': {adapter: openai, base_url: http://h/v1}", "cannot be a backend's name"),
        ("b: openai", "must be a mapping"),
        ("[b]", "must be a mapping"),
    ],
)  # fmt: skip
def test_faults_are_named_with_their_place(text: str, message: str) -> None:
    _, findings = loaded(text)
    found = [str(problem) for problem in findings.errors]
    assert any(message in problem for problem in found), found
    assert all(problem.startswith("config.yaml:1:") for problem in found)


def test_a_faulty_backend_is_still_listed() -> None:
    backends, findings = loaded("b: {adapter: openai, base_url: nonsense}")
    assert findings.errors
    assert "b" in backends


def test_an_unset_key_and_a_key_in_clear_text_are_warnings() -> None:
    _, findings = loaded(
        "b: {adapter: openai, base_url: http://10.0.0.1/v1, api_key: {env: UNSET_KEY}}"
    )
    assert findings.errors == []
    warnings = [problem.message for problem in findings.warnings]
    assert any("UNSET_KEY is not set" in message for message in warnings)
    assert any("without encryption" in message for message in warnings)


def test_no_section_means_no_backends() -> None:
    assert load_backends(None, findings=Findings(), directory=Path(), environment={}) == {}


def test_a_backend_can_be_handed_to_another_process() -> None:
    backend = one("{adapter: simulated, profile: {speed: instant}}")
    assert pickle.loads(pickle.dumps(backend)) == backend
