"""LangChain's standard tests end through pointsman as they end direct."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from rich.table import Table

from tests.conformance import environments, servers, suites
from tests.conformance.outside import needs

PASSES_MIN = 39
FIXTURES = environments.HERE / "aimock_fixtures"
CONFIG = """
backends:
  upstream: {{adapter: openai, base_url: "http://{address}/v1", model: gpt-4}}
routes:
  default: {{match: {{model: "*"}}, candidates: [upstream]}}
"""


def test_the_standard_tests_end_as_they_do_direct(
    tmp_path: Path, show: Callable[[Table], None]
) -> None:
    with needs(), servers.aimock(tmp_path, FIXTURES) as address:
        direct = suites.langchain(f"http://{address}/v1", tmp_path / "direct.xml")
        with servers.pointsman(tmp_path / "served", CONFIG.format(address=address)) as served:
            url = f"http://{served.listen}/v1"
            through = suites.langchain(url, tmp_path / "through.xml")
    show(suites.table_of("langchain-tests, ChatOpenAI", direct, through))
    assert through == direct
    assert Counter(through.values())["passed"] >= PASSES_MIN
