"""How far the store has been read, as evidence.py reads it: types alone."""

import msgspec


class Cursor(msgspec.Struct, frozen=True):
    """By day the last row, and the last rows of the two tables of verdicts."""

    days: dict[str, int] = {}
    labels: int = 0
    feedback: int = 0
