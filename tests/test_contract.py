"""Who may import whom: the contract in pyproject.toml, checked, and shown to be able to fail."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")
ROOMS = ("pointsman", "proxy", "policies", "adapters", "telemetry", "learning")


def lint(directory: Path) -> subprocess.CompletedProcess[str]:
    """Run the linter on the project, or on a copy of it."""
    return subprocess.run(
        [LINT_IMPORTS, "--no-cache", "--config", directory / "pyproject.toml"],
        cwd=directory,
        env={"PYTHONPATH": str(directory), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_rooms_keep_their_contract() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("policies", "import telemetry.record"),
        ("adapters", "import policies.words"),
        ("telemetry", "import proxy.server"),
        ("pointsman", "import adapters.backend"),
        ("policies", "import time"),
        ("policies", "import asyncio"),
    ],
)
def test_a_breach_is_found(room: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text("utf-8"))
    for name in ROOMS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    for module in ("telemetry/record", "policies/words", "proxy/server", "adapters/backend"):
        (tmp_path / f"{module}.py").touch()
    assert lint(tmp_path).returncode == 0
    (tmp_path / room / "breach.py").write_text(f"{line}\n")
    done = lint(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout


def test_the_server_never_loads_the_training_side() -> None:
    """Only commands import `learning`, and only when they run."""
    code = (
        "import sys, proxy.serving, proxy.worker, proxy.keeper, proxy.admin, proxy.cli.program\n"
        "print([name for name in sys.modules if name.partition('.')[0] in "
        "('learning', 'numpy', 'sklearn', 'torch', 'xllamacpp')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
