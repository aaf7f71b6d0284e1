"""Which test plays which row of the fault table: `python -m tests.faults.rows` prints it.

A test is named for its rows: `test_f22_...`, `test_f11_f12_...`. The first half of the table is
the wire's (F1-F28), the processes' (F42-F44) and the hedge's (F48); the rest follows with the
store's own laboratory.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent
ROWS: dict[int, str] = {
    1: "429 with Retry-After",
    2: "429 with a spent quota",
    3: "500, 502, 503, 504, 529, and no storm",
    4: "400, 401, 403, 404, 422",
    5: "an answer that is none",
    6: "connect refused",
    7: "connect into a black hole",
    8: "names: none, none now, late, moved",
    9: "TLS: certificates, old protocol, a stalled handshake",
    10: "reset before the head",
    11: "reset in mid-stream",
    12: "FIN in mid-stream",
    13: "clean end without finish_reason",
    14: "no [DONE] behind finish_reason",
    15: "odd, broken, huge and crumbled streams",
    16: "TLS closed without close_notify",
    17: "an error as the first event",
    18: "no head, no token, a gap",
    19: "a drip",
    20: "200 MB and 1 GB, and slow readers",
    21: "20 MB and a million messages",
    22: "the client leaves",
    23: "half-closed, pipelined, expecting",
    24: "the client stops reading",
    25: "thousands of slow clients",
    26: "an idle connection closed as we send",
    27: "half of the answers are errors",
    28: "all backends down",
    42: "SIGTERM under load",
    43: "reloads under load",
    44: "restarts under load",
    48: "a hedge's loser",
}


def played() -> Iterator[tuple[str, str, bool]]:
    """(file, test, whether it is left to the slow run as a whole) in this folder."""
    for path in sorted(FOLDER.glob("test_*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                marks = [ast.unparse(each) for each in node.decorator_list]
                yield path.name, node.name, "pytest.mark.slow" in marks


def rows_of(test: str) -> list[int]:
    """The rows a test's name begins with."""
    found = re.match(r"test((?:_f\d\d)+)_", test)
    return [int(number) for number in re.findall(r"\d\d", found[1])] if found else []


def table() -> str:
    """One line a test, under its row."""
    lines = []
    for row, fault in ROWS.items():
        lines.append(f"F{row:<3} {fault}")
        for file, test, is_slow in played():
            if row in rows_of(test):
                lines.append(f"      {file}::{test}{'  (slow)' if is_slow else ''}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
