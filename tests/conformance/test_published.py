"""What we publish about our two ports is what they do: schemathesis asks, steady reads along."""

import json
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.table import Table

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
QUICK, MANY = 15, 300
"""Examples an operation; what covers the description's edges comes on top."""
OPERATIONS_MIN = {"data": 16, "admin": 7}
EXAMPLE_DECISION = "01a20d83-8b64-7000-aab3-fc7e9698b038"

Answers = Counter[tuple[str, int]]


def document(name: str) -> Path:
    """A published description."""
    return environments.ROOT / "docs" / f"openapi-{name}.yaml"


def shipped() -> str:
    """The shipped configuration, its backends playing at once."""
    text = (environments.ROOT / "config.yaml").read_text("utf-8")
    text = re.sub(r"^(listen|admin):.*\n", "", text, flags=re.MULTILINE)
    return re.sub(r"profile: (\S+)", r"profile: {like: \1, speed: instant}", text)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The shipped configuration with quick backends."""
    with servers.pointsman(tmp_path_factory.mktemp("published"), shipped()) as server:
        yield server


def askable(name: str, served: Served, directory: Path) -> Path:
    """The description with ids that exist, in place of its examples.

    Without the deadline a client may set: one that is too short is a 504 by right.
    """
    _, headers, body = served.exchange(
        "/v1/responses",
        port="listen",
        method="POST",
        body=b'{"model":"auto","input":"Say hi"}',
        headers={"content-type": "application/json"},
    )
    text = document(name).read_text("utf-8")
    text = text.replace('        - $ref: "#/components/parameters/Deadline"\n', "")
    text = text.replace(EXAMPLE_DECISION, headers["x-pointsman-decision-id"])
    path = directory / "openapi.yaml"
    path.write_text(text.replace("resp_1", json.loads(body)["id"]))
    return path


@pytest.mark.parametrize("name", PORTS)
def test_a_description_is_one(name: str) -> None:
    with needs():
        words = [*environments.npm_program("steady"), "validate", str(document(name))]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "All good", done.stdout + done.stderr


def run_schemathesis(served: Served, name: str, directory: Path, examples: int) -> Answers:
    """How often each operation was answered how; fails where a check did."""
    with needs():
        python = environments.python("schemathesis")
    url = f"http://{getattr(served, PORTS[name])}"
    events = directory / "events.ndjson"
    words = [python, "-m", "schemathesis.cli", "run", str(askable(name, served, directory))]
    words += ["--url", url, "--checks", ",".join(CHECKS), "--max-examples", str(examples)]
    words += ["--report", "ndjson", "--report-ndjson-path", str(events), "--no-color"]
    words += ["--continue-on-failure", "--generation-deterministic", "--warnings", "off"]
    done = subprocess.run(
        words, capture_output=True, text=True, cwd=directory, timeout=RUN_S_MAX, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-16000:]}{done.stderr[-1000:]}"
    return answers_in(events)


def answers_in(events: Path) -> Answers:
    """Statuses by operation, from what schemathesis wrote of its run."""
    answers: Answers = Counter()
    for line in events.read_text("utf-8").splitlines():
        finished = json.loads(line).get("ScenarioFinished")
        recorder = finished["recorder"] if finished else {}
        for interaction in recorder.get("interactions", {}).values():
            response = interaction.get("response") or {"status_code": 0}
            answers[recorder["label"], response["status_code"]] += 1
    return answers


def table_of(name: str, answers: Answers) -> Table:
    """Cases and statuses by operation."""
    title = f"schemathesis, the {name} port: {answers.total()} requests"
    table = Table("operation", "requests", "answers", title=title, title_justify="left")
    for operation in sorted({operation for operation, _ in answers}):
        counts = {status: n for (word, status), n in answers.items() if word == operation}
        statuses = ", ".join(f"{status}: {counts[status]}" for status in sorted(counts))
        table.add_row(operation, str(sum(counts.values())), statuses)
    return table


@pytest.mark.parametrize("name", PORTS)
@pytest.mark.parametrize(
    "examples", [QUICK, pytest.param(MANY, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_answers_are_as_published(
    name: str, examples: int, served: Served, tmp_path: Path, show: Callable[[Table], None]
) -> None:
    answers = run_schemathesis(served, name, tmp_path, examples)
    show(table_of(name, answers))
    operations = {operation for operation, _ in answers if operation}
    assert len(operations) >= OPERATIONS_MIN[name]
    unanswered = [one for one in operations if not answers[one, 200]]
    # Each was answered well too; a canary's steps are refused where no route has one.
    assert [one for one in unanswered if "/canary/{route}/" not in one] == []
    assert served.events("request_crashed") == []
