"""The programs a run needs besides Python: the two in C, built on demand, and nginx."""

import os
import shutil
import subprocess
from pathlib import Path

import msgspec

HERE = Path(__file__).parent
BUILD = HERE / "build"
SOURCES = HERE / "c"
COMPILER_FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra")
PARTS = {
    "upstream": ("upstream.c", "answers.c", "timers.c", "support.c"),
    "load": ("load.c", "loop.c", "response.c", "histogram.c", "support.c"),
}
APT_TIMEOUT_S = 120.0


class MissingProgram(Exception):
    """A program is not there and could not be had; the message says why."""


class Programs(msgspec.Struct, frozen=True):
    """Paths of the built C programs."""

    upstream: Path
    load: Path


def find_compiler() -> str | None:
    """The C compiler: `$CC`, else cc, gcc or clang from the path; None without any."""
    wished = os.environ.get("CC")
    names = [wished] if wished else ["cc", "gcc", "clang"]
    return next((found for name in names if (found := shutil.which(name))), None)


def build_programs(directory: Path = BUILD, *, extra_flags: tuple[str, ...] = ()) -> Programs:
    """Compiles what is older than its sources (about a second each).

    Raises:
        MissingProgram: no compiler, or the compiler refused the sources.
    """
    compiler = find_compiler()
    if compiler is None:
        raise MissingProgram("no C compiler (cc, gcc or clang) on the path")
    directory.mkdir(parents=True, exist_ok=True)
    flags = (*COMPILER_FLAGS, *extra_flags)
    return Programs(
        upstream=_build("upstream", directory, compiler=compiler, flags=flags),
        load=_build("load", directory, compiler=compiler, flags=flags),
    )


def _build(name: str, directory: Path, *, compiler: str, flags: tuple[str, ...]) -> Path:
    target = directory / name
    newest = max(path.stat().st_mtime for path in SOURCES.iterdir())
    if target.exists() and target.stat().st_mtime > newest:
        return target
    aside = target.with_suffix(f".{os.getpid()}")  # two builds at once must not mix
    sources = [str(SOURCES / source) for source in PARTS[name]]
    command = [compiler, *flags, "-o", str(aside), *sources]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode != 0:
        raise MissingProgram(f"{' '.join(command)} failed:\n{built.stderr}")
    aside.replace(target)
    return target


def installed_nginx() -> Path | None:
    """nginx where it is there already."""
    unpacked = BUILD / "nginx" / "usr" / "sbin"
    places = (os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", str(unpacked))
    found = shutil.which("nginx", path=":".join(places))
    return Path(found) if found else None


def fetch_nginx() -> Path:
    """nginx as installed, else Debian's package unpacked into the build directory.

    The package is fetched through apt-get but not installed: installing would start a server on
    port 80, which nobody asked a benchmark for.

    Raises:
        MissingProgram: neither way worked.
    """
    found = installed_nginx()
    if found is None:
        print("nginx is missing: fetching Debian's package through apt-get (not installed) ...")
        _unpack_nginx(BUILD / "nginx")
        found = installed_nginx()
    if found is None:
        raise MissingProgram("Debian's nginx package holds no usr/sbin/nginx")
    nginx_version(found)
    return found


def _unpack_nginx(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    try:
        _run_apt(["apt-get", "download", "nginx"], directory)
    except MissingProgram:
        if os.geteuid() != 0:
            raise
        _run_apt(["apt-get", "update"], directory)  # a fresh container has no package lists
        _run_apt(["apt-get", "download", "nginx"], directory)
    package = next(directory.glob("nginx_*.deb"), None)
    if package is None:
        raise MissingProgram("apt-get download nginx left no package")
    _run_apt(["dpkg-deb", "-x", package.name, "."], directory)


def _run_apt(command: list[str], directory: Path) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=APT_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingProgram(f"{' '.join(command)}: {error}") from error
    if done.returncode != 0:
        raise MissingProgram(f"{' '.join(command)}: {done.stderr.strip()[-300:]}")


def nginx_version(nginx: Path) -> str:
    """Such as `nginx/1.22.1`. Raises MissingProgram where it does not run."""
    try:
        shown = subprocess.run([str(nginx), "-v"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise MissingProgram(f"{nginx}: {error}") from error
    if shown.returncode != 0:
        raise MissingProgram(f"{nginx} -v: {shown.stderr.strip()[-300:]}")
    return shown.stderr.strip().removeprefix("nginx version: ")
