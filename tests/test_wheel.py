"""What is built is what is meant: sdist -> wheel -> clean environment, own names only."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# These put a function of theirs in the place of one of ours, which machine code does not allow.
NOT_COMPILED = "not before_the_record and not before_its_record and not costs_one_request_only"
ROOMS = {"pointsman", "proxy", "policies", "adapters", "telemetry", "learning"}


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """The output of a command. `environment` comes on top of this process's own."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist and not from the working tree (what `build` does)."""
    output = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", output, ROOT, cwd=output)
    assert len(list(output.glob("*.tar.gz"))) == 1
    (found,) = output.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment into which only the wheel was installed.

    What it depends on is borrowed from this environment, which `make test` has just pinned, so
    that the test needs no network: by a path file, and only after the wheel's own was looked at.
    """
    environment = tmp_path_factory.mktemp("clean")
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=environment)
    interpreter = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", interpreter, "--disable-pip-version-check"]
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=environment)
    return interpreter


def site_packages(python: Path) -> Path:
    (found,) = python.parent.parent.glob("lib/python*/site-packages")
    return found


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def test_the_wheel_owns_exactly_its_packages(wheel: Path) -> None:
    top = {name.split("/")[0] for name in names_in(wheel)}
    assert {name for name in top if not name.endswith(".dist-info")} == ROOMS
    assert len(top) == len(ROOMS) + 1


def test_nothing_in_the_wheel_runs_by_itself(wheel: Path) -> None:
    assert [name for name in names_in(wheel) if name.endswith((".pth", ".so", ".pyc"))] == []
    assert [name for name in names_in(wheel) if ".data/" in name] == []


def test_the_wheel_holds_every_source_file_and_what_the_code_reads(wheel: Path) -> None:
    kept = {".py", ".sql", ".yaml", ".typed", ".txt"}
    tree = {
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.suffix in kept and "__pycache__" not in path.parts
    }
    built = {name for name in names_in(wheel) if name.split("/")[0] in ROOMS}
    assert {name for name in built if Path(name).suffix in kept | {""}} == tree


def test_installed_files_are_the_wheels_and_no_others(wheel: Path, python: Path) -> None:
    installed = {
        path.name
        for path in site_packages(python).iterdir()
        if path.suffix != ".dist-info" and path.name != "__pycache__"
    }
    assert installed == ROOMS


def test_the_installed_command_runs(python: Path) -> None:
    (site_packages(python) / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = python.with_name("pointsman")
    directory = python.parent.parent / "elsewhere"
    directory.mkdir()
    assert run(command, "--version", cwd=directory).startswith("pointsman, version ")
    run(command, "init", cwd=directory)
    assert ": ok: " in run(command, "check", cwd=directory)
    where = "import proxy.configuration as c; print(c.__file__)"
    assert str(site_packages(python)) in run(python, "-c", where, cwd=directory)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler to compile the wheel with")
def test_a_compiled_wheel_serves_as_the_interpreted_one_does(tmp_path: Path) -> None:
    """The data plane's own tests, run from a folder where only the compiled wheel is to be had."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT]
    run(*build, cwd=tmp_path, POINTSMAN_COMPILE="1")
    (wheel,) = tmp_path.glob("*.whl")
    compiled = {name for name in names_in(wheel) if name.endswith(".so")}
    (library,) = {name for name in compiled if "/" not in name}
    assert "__mypyc." in library
    assert len(compiled) > 20
    run(*pip, "install", "--quiet", "--no-deps", "--target", tmp_path / "site", wheel, cwd=tmp_path)
    shutil.copytree(ROOT / "tests", tmp_path / "tests")
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    names = ("apis", "attempt", "downstream", "exchange", "passing", "server")
    tests = [tmp_path / "tests" / "proxy" / f"test_{name}.py" for name in names]
    pytest_command = [sys.executable, "-m", "pytest", "-q", "--import-mode=importlib"]
    path = os.pathsep.join(map(str, (tmp_path / "site", tmp_path)))
    where = "import proxy.exchange as e; print(e.__file__)"
    assert run(sys.executable, "-P", "-c", where, cwd=tmp_path, PYTHONPATH=path).endswith(".so\n")
    run(*pytest_command, *tests, "-k", NOT_COMPILED, cwd=tmp_path, PYTHONPATH=path)
