"""openai-python's own tests pass through pointsman as they pass without it.

Their upstream is steady, which refuses requests that its description of the API does not allow.
Tests of paths that are younger than the description fail direct as well.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.table import Table

from tests.conformance import servers, suites
from tests.conformance.outside import needs
from tests.conformance.suites import table_of

ROUTED_PASSES_MIN = 325
ALL_PASSES_MIN = 6160

CONFIG = """
passthrough:
  - {{path: "/v1/*", backend: steady}}
backends:
  steady: {{adapter: openai, base_url: "http://{address}", hidden: true}}
routes:
  gpt-6-astra: {{candidates: [steady]}}
  default: {{match: {{model: "*"}}, candidates: [steady]}}
"""
"""Everything is open, every model is known; one is a route, since a test asks for it by name."""


@pytest.fixture
def steady(tmp_path: Path) -> Iterator[str]:
    """The upstream's address."""
    with needs(), servers.steady(tmp_path) as address:
        yield address


def run_through(steady: str, directory: Path, *parts: str) -> suites.Outcomes:
    """These parts through pointsman."""
    with servers.pointsman(directory / "served", CONFIG.format(address=steady)) as served:
        url = f"http://{served.listen}/v1"
        return suites.openai_python(url, directory / "through.xml", parts=parts)


def test_all_that_is_routed_passes(steady: str, tmp_path: Path) -> None:
    through = run_through(steady, tmp_path, *suites.ROUTED)
    assert [name for name, how in through.items() if how != "passed"] == []
    assert len(through) >= ROUTED_PASSES_MIN


@pytest.mark.slow
def test_everything_passes_as_it_does_direct(
    steady: str, tmp_path: Path, show: Callable[[Table], None]
) -> None:
    direct = suites.openai_python(f"http://{steady}", tmp_path / "direct.xml")
    through = run_through(steady, tmp_path, "")
    show(table_of("openai-python's own tests", direct, through))
    assert {name: how for name, how in through.items() if how != direct[name]} == {}
    assert Counter(through.values())["passed"] >= ALL_PASSES_MIN
