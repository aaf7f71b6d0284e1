"""Two counts over the last ten seconds, in exact buckets of one second, the running one included.

Adding and reading cost the same whatever was counted; a bucket leaves as a whole. The moment is
an argument, in seconds of any clock that does not go back.
"""

from typing import Final

SECONDS: Final = 10


class Window:
    """`first` and `second` are the sums; what they count is the owner's to say."""

    __slots__ = ("_end_s", "_firsts", "_now", "_seconds", "_slot", "first", "second")

    def __init__(self) -> None:
        self.first = 0
        self.second = 0
        self._firsts = [0] * SECONDS
        self._seconds = [0] * SECONDS
        self._now = 0
        """The running second."""
        self._slot = 0
        self._end_s = 1.0

    def __repr__(self) -> str:
        return f"<Window {self.first} {self.second}>"

    def add_first(self, now_s: float) -> None:
        """Count one in the running second."""
        if now_s >= self._end_s:
            self.move_to(now_s)
        self._firsts[self._slot] += 1
        self.first += 1

    def add_second(self, now_s: float) -> None:
        """Count one of the other kind."""
        if now_s >= self._end_s:
            self.move_to(now_s)
        self._seconds[self._slot] += 1
        self.second += 1

    def move_to(self, now_s: float) -> None:
        """Let go of what is older than the window."""
        now = int(now_s)
        if now <= self._now:
            return
        for moment in range(max(self._now + 1, now - SECONDS + 1), now + 1):
            slot = moment % SECONDS
            self.first -= self._firsts[slot]
            self.second -= self._seconds[slot]
            self._firsts[slot] = self._seconds[slot] = 0
        self._now = now
        self._slot = now % SECONDS
        self._end_s = now + 1.0

    def clear(self) -> None:
        """Forget everything."""
        self.first = self.second = 0
        self._firsts = [0] * SECONDS
        self._seconds = [0] * SECONDS
