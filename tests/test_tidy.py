"""House rules that a machine can hold: sizes, names, where things stand.

What ruff holds already (print, unused code, broad excepts without a marker, global statements) is
not repeated here. An exception to a rule stands in a table below, with its reason.
"""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("pointsman", "proxy", "policies", "adapters", "telemetry", "learning")
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60

LONG_MODULES: dict[str, str] = {
    "proxy/downstream.py": "one connection's states, and every way from one to the next",
    "proxy/exchange.py": "one life from start to end; what it asks, answers, judges: own files",
}
LONG_FUNCTIONS: dict[str, str] = {
    "proxy/recording.py::record_of": "one line a field, in the record's order",
    "telemetry/rows.py::request_row": "one line a column, in the table's order",
}
TASK_STARTERS: dict[str, str] = {
    "proxy/tasks.py": "the helper that names and keeps tasks and reports their failures",
    "adapters/pool.py": "keeps and names its connects; adapters may not import proxy",
    "proxy/worker.py": "two waits of the drain, both ended where they were started",
}
UNTESTED: dict[str, str] = {
    "adapters/standing.py": "types alone; test_health.py makes and reads them",
    "proxy/passed_answer.py": "the way down of passing.py; test_passing.py walks it",
    "proxy/cli/__main__.py": "two lines, so that `python -m proxy.cli` works",
    "adapters/read_buffer.py": "two constants; test_connection.py reads through them",
    "policies/choice.py": "types alone; test_decide.py makes and reads them",
    "policies/decision.py": "types alone; test_decide.py makes and reads them",
    "policies/route_match.py": "types alone; test_policy.py makes and reads them",
    "policies/request.py": "types alone; test_features.py makes and reads them",
    "proxy/chunk.py": "types alone; test_relay.py reads with them",
    "policies/step.py": "types alone; test_steps.py makes and reads them",
    "telemetry/frame_writer.py": "the other half of frames.py; test_frames.py writes and reads",
    "telemetry/entry.py": "types alone; test_journal.py makes and reads them",
    "telemetry/journal_counters.py": "types alone; test_journal.py makes and reads them",
    "policies/asked.py": "types alone; test_features.py makes and reads them",
    "adapters/edits.py": "types alone; test_target.py makes and reads them",
    "telemetry/cursor.py": "types alone; test_evidence.py makes and reads them",
}

SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
FORBIDDEN_NAMES = ("utils", "util", "helpers", "helper", "common", "manager", "base", "misc")

# In pieces, so that this file does not find itself.
MACHINE_PATHS = re.compile(
    "|".join(["/wo" + "rk/", "/ro" + r"ot/\.", "/far" + "m/", "/Us" + "ers/"])
)


def name_of(path: Path) -> str:
    """A path from the project's root, with slashes."""
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Each function with its length in lines, decorators left out."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield f"{name_of(path)}::{node.name}", node.end_lineno - node.lineno + 1


def has_code(path: Path) -> bool:
    """Whether a module holds more than docstrings and imports."""
    return any(
        not isinstance(node, ast.Import | ast.ImportFrom)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in tree_of(path).body
    )


def places_for_tests(path: Path) -> list[Path]:
    """Where the tests of a source file may stand; one of them must."""
    room, *inner, file = path.relative_to(ROOT).parts
    places = [ROOT.joinpath("tests", room, *inner, f"test_{file}")]
    if inner:  # a small package may have one test file for all it holds
        places.append(ROOT.joinpath("tests", room, *inner[:-1], f"test_{inner[-1]}.py"))
    return places


def project_files() -> list[Path]:
    """All files of the project: what git tracks, or what a source archive holds."""
    if (ROOT / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    return [path for path in ROOT.rglob("*") if path.is_file() and ".venv" not in path.parts]


def test_there_is_something_to_check() -> None:
    assert len(SOURCES) > 50
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} == set(ROOMS)


def test_every_source_file_has_its_test_file() -> None:
    missing = [
        f"{name_of(path)}: no {name_of(places_for_tests(path)[0])}"
        for path in SOURCES
        if has_code(path)
        and path.name != "__init__.py"
        and name_of(path) not in UNTESTED
        and not any(test.is_file() for test in places_for_tests(path))
    ]
    assert missing == []


def test_modules_stay_short() -> None:
    lengths = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in SOURCES}
    assert {
        name: lines
        for name, lines in lengths.items()
        if lines > MODULE_LINES_MAX and name not in LONG_MODULES
    } == {}


def test_functions_stay_short() -> None:
    found = dict(function for path in SOURCES for function in functions(path))
    assert {
        name: lines
        for name, lines in found.items()
        if lines > FUNCTION_LINES_MAX and name not in LONG_FUNCTIONS
    } == {}


def test_exceptions_are_still_needed() -> None:
    lengths = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in SOURCES}
    found = dict(function for path in SOURCES for function in functions(path))
    assert all(lengths[name] > MODULE_LINES_MAX for name in LONG_MODULES)
    assert all(found[name] > FUNCTION_LINES_MAX for name in LONG_FUNCTIONS)
    assert all((ROOT / name).is_file() for name in UNTESTED)


def test_a_file_is_named_for_the_one_thing_it_does() -> None:
    code = [path for path in project_files() if path.suffix == ".py"]
    parts = {part for path in code for part in path.relative_to(ROOT).with_suffix("").parts}
    assert parts.isdisjoint(FORBIDDEN_NAMES)


def test_tasks_are_started_in_known_places() -> None:
    starters = {
        name_of(path)
        for path in SOURCES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute) and node.attr in ("create_task", "ensure_future")
    }
    assert starters == set(TASK_STARTERS)


def test_a_broad_except_says_why() -> None:
    silent = []
    for path in SOURCES:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if re.search(r"except (\(.*)?\bException\b", line):
                comment = line.partition("#")[2].replace("noqa: BLE001", "")
                if len(re.findall(r"[A-Za-z]{2,}", comment)) < 3:
                    silent.append(f"{name_of(path)}:{number}")
    assert silent == []


def test_no_path_of_a_machine_is_written_down() -> None:
    found = []
    for path in project_files():
        try:
            lines = path.read_text("utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        found += [
            f"{name_of(path)}:{number}"
            for number, line in enumerate(lines, 1)
            if MACHINE_PATHS.search(line)
        ]
    assert found == []


@pytest.mark.parametrize(("lock", "extras"), [("run", ()), ("dev", ("dev",)), ("demo", ("local",))])
def test_every_dependency_is_pinned_with_a_hash(lock: str, extras: tuple[str, ...]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = list(project["dependencies"])
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    names = {normal(re.split(r"[<>=!~ \[;]", requirement)[0]) for requirement in wanted}
    text = (ROOT / "requirements" / f"{lock}.txt").read_text("utf-8")
    blocks = re.split(r"\n(?=\S)", text.strip())
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert names <= {normal(block.partition("==")[0]) for block in blocks}


def normal(name: str) -> str:
    """A distribution's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
