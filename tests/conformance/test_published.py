"""What we publish about our two ports is what they do: schemathesis asks, steady reads along."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance import environments, servers
from tests.conformance.outside import needs
from tests.support.served import Served

PORTS = {"data": "listen", "admin": "admin"}
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "allow_header_conformance",
)
RUN_S_MAX = 600


def document(name: str) -> Path:
    """A published description."""
    return environments.ROOT / "docs" / f"openapi-{name}.yaml"


def shipped() -> str:
    """The shipped configuration, its backends playing at once."""
    text = (environments.ROOT / "config.yaml").read_text("utf-8")
    text = re.sub(r"^(listen|admin):.*\n", "", text, flags=re.MULTILINE)
    return re.sub(r"profile: (\S+)", r"profile: {like: \1, speed: instant}", text)


def askable(name: str, directory: Path) -> Path:
    """The description without the deadline a client may set: too short a one is a 504 by right."""
    text = document(name).read_text("utf-8")
    path = directory / "openapi.yaml"
    path.write_text(text.replace('        - $ref: "#/components/parameters/Deadline"\n', ""))
    return path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The shipped configuration with quick backends."""
    with servers.pointsman(tmp_path_factory.mktemp("published"), shipped()) as server:
        assert server.chat()[0] == 200
        yield server


@pytest.mark.parametrize("name", PORTS)
def test_a_description_is_one(name: str) -> None:
    with needs():
        words = [*environments.npm_program("steady"), "validate", str(document(name))]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "All good", done.stdout + done.stderr


def run_schemathesis(served: Served, name: str, directory: Path, *words: str) -> str:
    """What it printed at the end; raises AssertionError where a check failed."""
    url = f"http://{getattr(served, PORTS[name])}"
    with needs():
        python = environments.python("schemathesis")
    done = subprocess.run(
        [python, "-m", "schemathesis.cli", "run", str(askable(name, directory)), "--url", url,
         "--checks", ",".join(CHECKS), "--no-color", "--continue-on-failure",
         "--generation-deterministic", "--warnings", "off", *words],
        capture_output=True, text=True, cwd=directory, timeout=RUN_S_MAX, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-16000:]}{done.stderr[-1000:]}"
    return done.stdout


@pytest.mark.parametrize(("name", "cases_min"), [("data", 500), ("admin", 50)], ids=str)
def test_answers_are_as_published(
    name: str, cases_min: int, served: Served, tmp_path: Path
) -> None:
    text = run_schemathesis(served, name, tmp_path, "--max-examples", "15")
    (cases,) = re.findall(r"(\d+) generated", text)
    assert int(cases) >= cases_min
    assert served.events("request_crashed") == []


@pytest.mark.slow
@pytest.mark.parametrize("name", PORTS)
def test_many_answers_are_as_published(name: str, served: Served, tmp_path: Path) -> None:
    run_schemathesis(served, name, tmp_path, "--max-examples", "300")
    assert served.events("request_crashed") == []
