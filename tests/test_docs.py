"""The papers tell the truth: what they show is loaded, run, and compared with the program."""

import ast
import inspect
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import proxy.admin
import proxy.errors
from pointsman.decoding import Section
from policies.probes import run_probes
from policies.unbuilt import UNBUILT
from proxy.configuration import Configuration, load_configuration, parse_configuration
from proxy.errors import DownstreamError
from tests.support import cli_pages
from tests.support.papers import (
    Block,
    Command,
    anchors,
    blocks,
    commands,
    links,
    table_words,
)
from tests.support.served import Served

ROOT = Path(__file__).resolve().parent.parent
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAPERS = [*DOCS, *sorted(ROOT.glob("*.md"))]
INTERFACES = ROOT.parent / "shared" / "INTERFACES.md"
SAMPLE = ROOT / "docs" / "configuration.md"

FRAGMENT_REST = """
backends: {gpt-4: {adapter: simulated}}
routes: {default: {candidates: gpt-4}}
"""


def load(text: str, file: Path) -> Configuration:
    """A whole file, or a fragment completed by the least that a file needs."""
    if not re.search(r"^routes:", text, re.MULTILINE):
        text += FRAGMENT_REST
    return parse_configuration(text, file=file, environment={})


# -- configuration ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "block", [block for paper in PAPERS for block in blocks(paper, "yaml")], ids=str
)
def test_every_yaml_example_is_accepted(block: Block) -> None:
    if block.file.name == "README.md":
        assert block.text in (ROOT / "config.yaml").read_text("utf-8")
    else:
        configuration = load(block.text, block.file)
        assert all(result.is_ok for result in run_probes(configuration.policy))


def test_the_shipped_configuration_has_no_fault_and_no_warning() -> None:
    configuration = load_configuration(ROOT / "config.yaml", environment={})
    assert configuration.warnings == ()
    assert {"gpt-4", "o3-mini", "local", "claude"} == set(configuration.backends)
    assert all(backend.is_simulated for backend in configuration.backends.values())
    assert configuration.policy.route_for("auto", {}) is not None
    assert all(route.require.error is None for route in configuration.policy.routes)


def test_init_writes_the_shipped_configuration() -> None:
    template = ROOT / "proxy" / "cli" / "config_template.yaml"
    assert template.read_text("utf-8") == (ROOT / "config.yaml").read_text("utf-8")


def test_the_lines_to_change_for_a_real_provider_are_accepted() -> None:
    shipped = (ROOT / "config.yaml").read_text("utf-8")
    real = re.findall(r"^  (\S+): +# (\{.*\})$", shipped, re.MULTILINE)
    assert len(real) == 4
    backends = "\n".join(f"  {name}: {line}" for name, line in real)
    text = f"backends:\n{backends}\nroutes: {{default: {{candidates: local}}}}\n"
    configuration = load(text, ROOT / "config.yaml")
    adapters = {backend.adapter for backend in configuration.backends.values()}
    assert adapters == {"openai", "anthropic"}


def test_the_interfaces_page_beside_the_project_is_accepted() -> None:
    if not INTERFACES.is_file():
        pytest.skip("no ../shared/INTERFACES.md beside this project: nothing to hold against it")
    (example,) = blocks(INTERFACES, "yaml")
    configuration = load(example.text, INTERFACES)
    assert set(configuration.policy.backends) == {"gpt-4", "o3-mini", "local", "local-v2"}


def test_every_word_the_loader_knows_is_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[str] = set()
    original = Section.node

    def node(self: Section, key: str) -> object:
        asked.add(key)
        return original(self, key)

    monkeypatch.setattr(Section, "node", node)
    (example, *_) = blocks(SAMPLE, "yaml")
    configuration = load(example.text, SAMPLE)
    policy = configuration.policy
    chosen_by_the_operator = {*configuration.backends, *(route.name for route in policy.routes)}
    chosen_by_the_operator |= set(re.findall(r"^  (\w+): \{at:", example.text, re.MULTILINE))
    chosen_by_the_operator |= {"task", "p90", "p95", "version", "models", "simulated"}
    chosen_by_the_operator |= set(model_names())
    documented = {
        word for text in table_words(SAMPLE) for word in re.findall(r"[a-z][a-z_]*", text)
    }
    assert "escalate" in asked
    assert asked - chosen_by_the_operator - documented == set()


def model_names() -> list[str]:
    """The models of the price table, which the loader reads too."""
    table = (ROOT / "adapters" / "prices.yaml").read_text("utf-8")
    return re.findall(r"^  ([\w.-]+):", table, re.MULTILINE)


def test_the_words_without_effect_are_listed() -> None:
    text = SAMPLE.read_text("utf-8").partition("## Not in effect yet")[2]
    assert set(re.findall(r"`([^`]+)`", text)) - {"check", "serve"} == set(UNBUILT)


# -- commands, metrics, errors ----------------------------------------------------------------


def test_the_page_of_commands_is_their_own_help() -> None:
    written = (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert written == cli_pages.page(), "run `make docs`"


def test_every_command_has_an_example() -> None:
    for page in cli_pages.pages():
        assert "Example:" in page, page


def test_every_metric_with_a_help_text_is_documented() -> None:
    assert set(proxy.admin.HELP) - table_words(ROOT / "docs" / "metrics.md") == set()


def test_every_error_of_ours_is_documented() -> None:
    text = (ROOT / "docs" / "errors.md").read_text("utf-8")
    missing = [
        (status, code)
        for status, code in errors_of_ours()
        if not re.search(rf"^\| {status} \|.*{re.escape(f'`{code}`') if code else '`null`'}",
                         text, re.MULTILINE)
    ]  # fmt: skip
    assert missing == []


def errors_of_ours() -> set[tuple[int, str | None]]:
    """Status and code of everything `proxy.errors` makes and the rest of proxy spells out."""
    found = set()
    samples = {str: "x", int: 1, bytes: b"GET"}
    for make in vars(proxy.errors).values():
        if inspect.isfunction(make) and make.__annotations__.get("return") is DownstreamError:
            if make.__name__.startswith("_"):
                continue
            needed = [
                samples[parameter.annotation]
                for parameter in inspect.signature(make).parameters.values()
                if parameter.default is parameter.empty
            ]
            error = make(*needed)
            found.add((error.status, error.code))
    for path in (ROOT / "proxy").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "DownstreamError":
                values = [arg.value if isinstance(arg, ast.Constant) else None for arg in node.args]
                if isinstance(values[0], int) and isinstance(values[2], str):
                    found.add((values[0], values[2]))
    assert len(found) > 15
    return found


# -- links and words ----------------------------------------------------------------------------


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.name)
def test_links_lead_somewhere(paper: Path) -> None:
    for link in links(paper):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (paper.parent / name).resolve() if name else paper
        assert target.exists(), f"{paper.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{paper.name}: {link}"


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.name)
def test_make_words_exist(paper: Path) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    named = re.findall(r"(?:`|^\$ )make ([a-z-]+)", paper.read_text("utf-8"), re.MULTILINE)
    assert set(named) <= targets


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.name)
def test_files_named_in_papers_exist(paper: Path) -> None:
    named = re.findall(r"`([\w./-]+/[\w.-]*)`", paper.read_text("utf-8"))
    rooms = {path.name for path in ROOT.iterdir() if path.is_dir()}
    here = [name for name in named if name.split("/")[0] in rooms - {"data", ".venv"}]
    assert [name for name in here if not (ROOT / name).exists()] == []


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 135


# -- transcripts --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The shipped configuration, served on ports of its own."""
    directory = tmp_path_factory.mktemp("readme")
    text = (ROOT / "config.yaml").read_text("utf-8")
    text = text.replace("127.0.0.1:8080", "127.0.0.1:0").replace("127.0.0.1:8081", "127.0.0.1:0")
    (directory / "config.yaml").write_text(text)
    with Served(directory / "config.yaml", workers=2) as server:
        assert server.chat("Is there anything to look at?")[0] == 200
        yield server


def run(command: str, served: Served, *, program: str = "sh") -> str:
    """Run as a reader would, beside config.yaml, with the ports this server really has."""
    text = command.replace("127.0.0.1:8080", served.listen).replace("127.0.0.1:8081", served.admin)
    bin_directory = Path(sys.executable).parent
    done = subprocess.run(
        [program, "-c", text],
        cwd=served.directory.parent,
        env={**os.environ, "PATH": f"{bin_directory}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def assert_alike(shown: str, real: str, command: str) -> None:
    """Figures differ from run to run; the words around them must be there."""
    words = {word for word in re.findall(r"[A-Za-z_]{4,}", shown) if word not in ("simulated",)}
    missing = {word for word in words if word not in real}
    assert len(missing) <= len(words) // 10, f"{command}\nmissing {missing} in\n{real}"


def test_the_readmes_commands_work_as_written(served: Served) -> None:
    readme = ROOT / "README.md"
    done = 0
    for block in blocks(readme, "console"):
        for command in commands(block):
            if command.text.startswith(("make ", "git ")):
                continue  # that they exist is tested above; what they do is this suite
            real = run(command.text, served)
            assert_alike(command.output, real, command.text)
            done += 1
    for block in blocks(readme, "python"):
        assert run(block.text, served, program=sys.executable).strip()
        done += 1
    assert done >= 5


def test_the_stores_examples_work_as_written(served: Served) -> None:
    run("pointsman captures --limit 1", served)  # all that was answered is folded
    for block in blocks(ROOT / "docs" / "store.md", "console"):
        for command in commands(block):
            assert run(command.text, served).strip(), command.text


def test_the_feedback_pages_examples_work_as_written(served: Served) -> None:
    page = ROOT / "docs" / "feedback.md"
    (block,) = blocks(page, "console")
    typed = list(commands(block))
    real = run("\n".join(command.text for command in typed), served)
    assert_alike("\n".join(command.output for command in typed), real, str(block))
    (script,) = blocks(page, "python")
    assert "feedback" in run(script.text, served, program=sys.executable)


def test_every_metric_of_a_live_server_is_documented(served: Served) -> None:
    status, _, _ = served.chat("How many metrics are there?")
    assert status == 200
    served.wait_until("/metrics", lambda text: "pointsman_requests_total{" in text)
    _, text = served.get("/metrics")
    families = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    documented = table_words(ROOT / "docs" / "metrics.md")
    assert len(families) > 20
    assert families - documented == set()


def test_every_table_and_column_is_documented(served: Served) -> None:
    run("pointsman captures --limit 1", served)
    words = {
        w for text in table_words(ROOT / "docs" / "store.md") for w in re.findall(r"\w+", text)
    }
    for path in (next(served.directory.glob("capture-*.db")), served.directory / "learning.db"):
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            names = {name for (name,) in database.execute(
                "select name from sqlite_schema where type in ('table', 'view')"
            )}  # fmt: skip
            if path.name != "learning.db":
                names |= {row[1] for row in database.execute("pragma table_info(requests)")}
        database.close()
        assert names - words == set(), path.name


def test_a_transcript_is_read_as_it_is_typed() -> None:
    block = Block(ROOT / "README.md", 1, "console", "$ one \\\n  two\nout\n$ three\n")
    assert list(commands(block)) == [Command("one \\\n  two", "out"), Command("three", "")]
