"""The proxy's own sections of the file."""

from pathlib import Path

import pytest

from pointsman.decoding import Findings
from pointsman.document import MapNode, Node, parse
from proxy.listening import (
    Address,
    Limits,
    Passthrough,
    load_admin,
    load_limits,
    load_listen,
    load_passthrough,
)
from proxy.passage import checked_path


def node(text: str) -> Node:
    root = parse(f"key: {text}", "c.yaml")
    assert isinstance(root, MapNode)
    return root.items["key"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("'[::1]:0'", Address("::1", 0)),
        ("localhost:80", Address("localhost", 80)),
        ("{address: 0.0.0.0:1}", Address("0.0.0.0", 1)),
    ],
)
def test_reads_addresses(text: str, expected: Address, tmp_path: Path) -> None:
    findings = Findings()
    assert load_listen(node(text), findings=findings, directory=tmp_path).address == expected
    assert findings.errors == []


@pytest.mark.parametrize("text", ["8080", "127.0.0.1", "a:70000", "::1:80", "http://a:1", "':80'"])
def test_refuses_what_is_no_address(text: str, tmp_path: Path) -> None:
    findings = Findings()
    load_listen(node(text), findings=findings, directory=tmp_path)
    assert "HOST:PORT" in str(findings.errors[0]) or "brackets" in str(findings.errors[0])


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1 127.9.9.9 ::1 localhost", True),
        ("0.0.0.0 10.0.0.1 example.org ::", False),
    ],
)
def test_knows_loopback(address: str, expected: bool) -> None:
    assert {Address(host, 1).is_loopback for host in address.split()} == {expected}


def test_tls_files_must_exist(tmp_path: Path) -> None:
    findings = Findings()
    text = "{address: 127.0.0.1:1, tls: {certificate: c.pem, key: k.pem}}"
    load_listen(node(text), findings=findings, directory=tmp_path)
    assert ["c.pem" in str(error) or "k.pem" in str(error) for error in findings.errors] == [
        True,
        True,
    ]


def test_admin_off_loopback_needs_a_token(tmp_path: Path) -> None:
    findings = Findings()
    load_admin(node("0.0.0.0:1"), findings=findings, directory=tmp_path, environment={})
    assert "token" in str(findings.errors[0])


def test_admin_token_comes_from_the_environment_only(tmp_path: Path) -> None:
    findings = Findings()
    text = "{address: 0.0.0.0:1, token: {env: ADMIN_TOKEN}, hosts: [Admin.Example:1]}"
    admin = load_admin(
        node(text), findings=findings, directory=tmp_path, environment={"ADMIN_TOKEN": "hush"}
    )
    assert findings.errors == []
    assert admin.token is not None
    assert admin.token.reveal() == "hush"
    assert admin.hosts == ("admin.example:1",)
    assert "hush" not in repr(admin)
    load_admin(
        node(text.replace("{env: ADMIN_TOKEN}", "hush")),
        findings=findings,
        directory=tmp_path,
        environment={},
    )
    assert findings.errors


def test_an_unset_admin_token_is_a_warning_and_still_asked_for(tmp_path: Path) -> None:
    findings = Findings()
    admin = load_admin(
        node("{address: 0.0.0.0:1, token: {env: NOT_SET}}"),
        findings=findings,
        directory=tmp_path,
        environment={},
    )
    assert findings.errors == []
    assert len(findings.warnings) == 1
    assert (admin.token, admin.needs_token) == (None, True)


def test_reads_limits_and_their_defaults() -> None:
    findings = Findings()
    assert load_limits(None, findings=findings) == Limits(20 << 20, 20_000)
    assert load_limits(node("{body: 1MiB, in_flight: 7}"), findings=findings) == Limits(1 << 20, 7)
    found = load_limits(node("{in_flight_per_key: 9, queue: 50ms}"), findings=findings)
    assert (found.in_flight_per_key, found.queue_s) == (9, 0.05)
    assert found.share(2) == Limits(in_flight=10_000, in_flight_per_key=4, queue_s=0.05)
    assert Limits(in_flight=1, in_flight_per_key=1).share(4).in_flight_per_key == 1
    assert Limits().share(2).in_flight_per_key is None
    assert findings.errors == []
    load_limits(node("{body: 2GiB}"), findings=findings)
    load_limits(node("{bodies: 1MiB}"), findings=findings)
    assert ["GiB" in str(findings.errors[0]), "'body'" in str(findings.errors[1])] == [True, True]


def test_reads_passthrough_paths() -> None:
    findings = Findings()
    rules = load_passthrough(
        node('[{path: "/v1/files*", backend: a}, {path: /v1/batches, backend: a}]'),
        findings=findings,
        backends={"a": 1},
    )
    assert rules == (Passthrough("/v1/files*", "a"), Passthrough("/v1/batches", "a"))
    assert findings.errors == []


@pytest.mark.parametrize(
    "path",
    [
        *("/files", "/v1/*/x", "/v1/../x", "/v1//x", "/v1/%2e", "/v1/x?a=b", "v1/files"),
        *("/v1/", "/v1/files/", "/v1/a b", "/v1/é", "/v1/a#b", "/v1/**"),
    ],
)
def test_refuses_passthrough_paths_that_are_not_plain(path: str) -> None:
    findings = Findings()
    load_passthrough(
        node(f'[{{path: "{path}", backend: a}}]'), findings=findings, backends={"a": 1}
    )
    assert "path" in str(findings.errors[0])


@pytest.mark.parametrize("path", ["/v1/a-b_c.d~e", "/v1/a:b@c/$d&e'f(g)+h,i;j=k!"])
def test_a_path_that_is_taken_is_one_that_requests_may_have(path: str) -> None:
    findings = Findings()
    load_passthrough(
        node(f'[{{path: "{path}", backend: a}}]'), findings=findings, backends={"a": 1}
    )
    assert findings.errors == []
    assert checked_path(path.encode()) == path.encode()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v1/chat/completions", "POST /v1/chat/completions"),
        ("/v1/responses*", "POST /v1/responses"),
        ("/v1/models*", "GET /v1/models"),
        ("/v1/*", None),
        ("/v1/chat/completions/x", None),
    ],
)
def test_says_what_does_not_pass_though_a_rule_names_it(path: str, said: str | None) -> None:
    findings = Findings()
    load_passthrough(
        node(f'[{{path: "{path}", backend: a}}]'), findings=findings, backends={"a": 1}
    )
    warned = [str(one) for one in findings.warnings]
    assert [f"{said} does not pass through" in one for one in warned] == [True] * bool(said)


def test_names_the_nearest_backend_of_a_passthrough() -> None:
    findings = Findings()
    load_passthrough(
        node("[{path: /v1/files, backend: gpt4}]"), findings=findings, backends={"gpt-4": 1}
    )
    assert "did you mean 'gpt-4'" in str(findings.errors[0])
