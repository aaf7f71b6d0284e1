"""Byte scripts for framing: a scripted backend, pointsman, a scripted client (varnishtest)."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.conformance import environments, servers
from tests.conformance.outside import needs

SCRIPTS = sorted((environments.HERE / "byte_scripts").glob("*.vtc"))
CASES_MIN = 100
RUN_S_MAX = 60
CONFIG = """
backends:
  a: {{adapter: openai, base_url: "http://{upstream}/v1", model: m}}
routes:
  default: {{match: {{model: auto}}, candidates: [a]}}
"""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_bytes_are_read_as_they_must_be(script: Path, tmp_path: Path) -> None:
    upstream = f"127.0.0.1:{servers.free_port()}"
    with needs():
        program = environments.varnishtest()
        with servers.pointsman(tmp_path, CONFIG.format(upstream=upstream)) as served:
            macros = ("-D", f"pointsman={served.listen}", "-D", f"upstream={upstream}")
            done = subprocess.run(
                [program, "-v", "-t", str(RUN_S_MAX), *macros, str(script)],
                capture_output=True,
                text=True,
                cwd=tmp_path,
                check=False,
                timeout=2 * RUN_S_MAX,
            )
    assert done.returncode == 0, "\n".join(done.stdout.splitlines()[-40:])


def test_there_are_enough_of_them() -> None:
    texts = [script.read_text("utf-8") for script in SCRIPTS]
    assert sum(len(re.findall(r"^client c", text, re.MULTILINE)) for text in texts) >= CASES_MIN
