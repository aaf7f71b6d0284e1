"""Words ahead of their time: read and validated, but without effect so far.

The one place that lists them. The word whose work is done is taken out; the list is empty now, and
waits for the next word.
"""

from pointsman.decoding import Findings
from pointsman.document import Position

UNBUILT: frozenset[str] = frozenset()


def note_use(findings: Findings, at: Position, word: str) -> None:
    """Warn at `at` if `word` is not in effect yet."""
    if word in UNBUILT:
        findings.warn(at, f"accepted, not yet in effect: {word} ({at.file}:{at.line})")
