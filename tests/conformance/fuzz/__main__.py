"""Fuzz one target for some seconds, guided by coverage; run in the environment with atheris.

    python -m tests.conformance.fuzz TARGET SECONDS FOLDER      0: nothing found

What was found last time is in FOLDER and begins the next run.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["adapters", "policies", "proxy", "tests.conformance.fuzz.targets"]
):
    from tests.conformance.fuzz import targets

from tests.conformance.fuzz.tokens import TOKENS

INPUT_BYTES_MAX = 2048


def main(name: str, span_s: str, folder: Path) -> None:
    """Never returns: libFuzzer ends the process."""
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for index, token in enumerate(TOKENS[name]):
        (corpus / f"token-{index}").write_bytes(b"\x40\x80\xc0" + token)
    whole = b"".join(TOKENS[name])
    (corpus / "tokens").write_bytes(b"\x40\x80\xc0" + whole[:INPUT_BYTES_MAX])
    dictionary = folder / "words"
    escaped = ["".join(f"\\x{byte:02x}" for byte in token) for token in TOKENS[name]]
    dictionary.write_text("".join(f'"{one}"\n' for one in escaped if len(one) <= 4 * 60))
    options = [
        f"-max_total_time={span_s}",
        f"-max_len={INPUT_BYTES_MAX}",
        f"-dict={dictionary}",
        f"-artifact_prefix={folder}/",
        "-timeout=5",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], targets.TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
