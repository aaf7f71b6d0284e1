"""Build hook: with POINTSMAN_COMPILE=1 the request path becomes machine code (mypyc).

The same files, compiled: a request costs half as much of a worker's time. It needs a C
compiler where the wheel is built, so it is asked for and never done by default; without it the
wheel is pure Python. Nothing is ever compiled into the source tree, where it would go stale.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SWITCH = "POINTSMAN_COMPILE"
COMPILED = (
    "adapters/answer_reader.py",
    "adapters/chat_reader.py",
    "adapters/connection.py",
    "adapters/edits.py",
    "adapters/embeddings_reader.py",
    "adapters/headers.py",
    "adapters/health.py",
    "adapters/kinds/anthropic.py",
    "adapters/kinds/openai.py",
    "adapters/known_head.py",
    "adapters/messages_reader.py",
    "adapters/pool.py",
    "adapters/responses_reader.py",
    "adapters/retry_budget.py",
    "adapters/splice.py",
    "adapters/sse.py",
    "adapters/target.py",
    "adapters/window.py",
    "policies/asked.py",
    "policies/decide.py",
    "policies/decision.py",
    "policies/envelope.py",
    "policies/features.py",
    "policies/gain.py",
    "policies/hedge_budget.py",
    "policies/hedging.py",
    "policies/identity.py",
    "policies/matching.py",
    "policies/policy.py",
    "policies/ranking.py",
    "policies/recovery.py",
    "policies/route_match.py",
    "policies/steps.py",
    "policies/view.py",
    "proxy/admission.py",
    "proxy/answering.py",
    "proxy/asking.py",
    "proxy/attempt.py",
    "proxy/counting.py",
    "proxy/deciding.py",
    "proxy/downstream.py",
    "proxy/endpoints.py",
    "proxy/exchange.py",
    "proxy/framing.py",
    "proxy/heads.py",
    "proxy/hedging.py",
    "proxy/judging.py",
    "proxy/patience.py",
    "proxy/prefixes.py",
    "proxy/recording.py",
    "proxy/relay.py",
    "proxy/request_reader.py",
    "proxy/server.py",
    "proxy/timing.py",
    "proxy/watch.py",
    "proxy/wiring.py",
    "telemetry/entry.py",
    "telemetry/frame_writer.py",
    "telemetry/ids.py",
    "telemetry/journal.py",
    "telemetry/segment_file.py",
    "telemetry/segment_writer.py",
)
"""What every request passes, less the files that define msgspec types: those stay Python."""


class CompileHook(BuildHookInterface):  # type: ignore[type-arg]
    """hatchling calls it for every wheel, an editable one included."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What an isolated build must have besides hatchling."""
        return ["mypy", "setuptools"] if is_asked_for() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and add what came out to the wheel."""
        if self.target_name != "wheel" or version == "editable" or not is_asked_for():
            return
        self._output = tempfile.TemporaryDirectory(prefix="pointsman-compile-")
        output = Path(self._output.name)
        compile_to(output, Path(self.root))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        for library in output.glob("lib/**/*.so"):
            build_data["force_include"][str(library)] = str(library.relative_to(output / "lib"))

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the temporary files."""
        if hasattr(self, "_output"):
            self._output.cleanup()


def is_asked_for() -> bool:
    """Whether this build is to compile."""
    return os.environ.get(SWITCH) == "1"


def compile_to(output: Path, root: Path) -> None:
    """Compile `COMPILED` below `root` into `output/lib`. Raises what mypyc and cc raise."""
    from mypyc.build import mypycify
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    before = Path.cwd()
    os.chdir(root)  # mypyc names modules by their path from here
    try:
        extensions = mypycify(
            ["--config-file=pyproject.toml", *COMPILED],
            opt_level="3",
            debug_level="0",
            target_dir=str(output / "c"),
        )
        command = build_ext(Distribution({"name": "pointsman", "ext_modules": extensions}))
        command.build_lib = str(output / "lib")
        command.build_temp = str(output / "temp")
        command.ensure_finalized()
        command.run()
    finally:
        os.chdir(before)
