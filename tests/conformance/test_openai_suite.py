"""openai-python's own tests pass through pointsman as they pass without it."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.table import Table

from tests.conformance import servers, suites
from tests.conformance.outside import needs
from tests.conformance.suites import Outcomes, lost, table_of

ROUTED_PASSES_MIN = 325
ALL_PASSES_MIN = 6160
OPEN_PATHS = ("/v1/*",)  # what the shipped list does not open, this one does

CONFIG = """
capture: {{directory: ./data}}
passthrough:
{passthrough}
backends:
  steady: {{adapter: openai, base_url: "http://{address}", hidden: true}}
routes:
  gpt-6-astra: {{match: {{model: gpt-6-astra}}, candidates: [steady]}}
  default: {{match: {{model: "*"}}, candidates: [steady]}}
"""


def config(address: str, *passthrough: str) -> str:
    """One backend for all; every model's name is known."""
    lines = "\n".join(f'  - {{path: "{path}", backend: steady}}' for path in passthrough)
    return CONFIG.format(address=address, passthrough=lines or "  []")


def compare(directory: Path, parts: tuple[str, ...], text: str) -> tuple[Outcomes, Outcomes]:
    """The same tests direct and through."""
    with needs(), servers.steady(directory) as address:
        direct = suites.openai_python(f"http://{address}", directory / "direct.xml", parts=parts)
        with servers.pointsman(directory / "served", text.replace("ADDRESS", address)) as served:
            url = f"http://{served.listen}/v1"
            through = suites.openai_python(url, directory / "through.xml", parts=parts)
    return direct, through


def test_what_is_routed_passes_as_it_does_direct(
    tmp_path: Path, show: Callable[[Table], None]
) -> None:
    direct, through = compare(tmp_path, suites.ROUTED, config("ADDRESS", *OPEN_PATHS))
    show(table_of("openai-python's own tests", direct, through))
    assert lost(direct, through) == []
    assert Counter(through.values())["passed"] >= ROUTED_PASSES_MIN


@pytest.mark.slow
def test_everything_passes_as_it_does_direct(tmp_path: Path, show: Callable[[Table], None]) -> None:
    direct, through = compare(tmp_path, ("",), config("ADDRESS", *OPEN_PATHS))
    show(table_of("openai-python's own tests", direct, through))
    assert lost(direct, through) == []
    assert Counter(through.values())["passed"] >= ALL_PASSES_MIN
