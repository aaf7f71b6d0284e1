"""Two counts over the last ten seconds, in exact buckets of one second, the running one included.

Adding and reading cost the same whatever was counted; a bucket leaves as a whole. The moment is
an argument, in seconds of any clock that does not go back.
"""

SECONDS = 10


class Window:
    """`first` and `second` are the sums; what they count is the owner's to say."""

    __slots__ = ("_firsts", "_now", "_seconds", "first", "second")

    def __init__(self) -> None:
        self.first = 0
        self.second = 0
        self._firsts = [0] * SECONDS
        self._seconds = [0] * SECONDS
        self._now = 0
        """The running second."""

    def __repr__(self) -> str:
        return f"<Window {self.first} {self.second}>"

    def add(self, now_s: float, first: int, second: int) -> None:
        """Count in the running second."""
        self.move_to(now_s)
        slot = self._now % SECONDS
        self._firsts[slot] += first
        self._seconds[slot] += second
        self.first += first
        self.second += second

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

    def clear(self) -> None:
        """Forget everything."""
        self.first = self.second = 0
        self._firsts = [0] * SECONDS
        self._seconds = [0] * SECONDS
