"""The C programs, built once for all of these tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import servers
from benchmarks.load import LoadGenerator
from benchmarks.programs import Programs, build_programs, find_compiler


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """Built with warnings as errors."""
    if find_compiler() is None:
        pytest.skip("no C compiler (cc, gcc or clang): the load generator cannot be built")
    return build_programs(tmp_path_factory.mktemp("build"), extra_flags=("-Werror",))


@pytest.fixture
def upstream(programs: Programs, tmp_path: Path) -> Iterator[servers.Server]:
    """A running C upstream."""
    with servers.upstream(programs, directory=tmp_path, core=None) as server:
        yield server


@pytest.fixture
def generator(programs: Programs, tmp_path: Path) -> LoadGenerator:
    """A load generator that expects the upstream's completion."""
    return LoadGenerator(
        programs, directory=tmp_path, core=None, body=servers.expected_body(programs)
    )
