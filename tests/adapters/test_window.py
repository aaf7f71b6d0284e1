"""Ten exact seconds."""

from hypothesis import given
from hypothesis import strategies as st

from adapters.window import SECONDS, Window


def add(window: Window, now_s: float, first: int, second: int) -> None:
    for _ in range(first):
        window.add_first(now_s)
    for _ in range(second):
        window.add_second(now_s)
    window.move_to(now_s)


def test_a_second_leaves_as_a_whole() -> None:
    window = Window()
    add(window, 100.0, 1, 2)
    add(window, 100.99, 1, 0)
    add(window, 101.0, 0, 1)
    window.move_to(109.99)
    assert (window.first, window.second) == (2, 3)
    window.move_to(110.0)
    assert (window.first, window.second) == (0, 1)


def test_a_clock_that_goes_back_takes_nothing_away() -> None:
    window = Window()
    add(window, 100.0, 1, 0)
    add(window, 99.0, 1, 0)
    assert window.first == 2


def test_forgets_everything() -> None:
    window = Window()
    add(window, 100.0, 1, 1)
    window.clear()
    window.move_to(105.0)
    assert (window.first, window.second) == (0, 0)
    assert repr(window) == "<Window 0 0>"


@given(st.lists(st.tuples(st.floats(0, 8), st.integers(0, 3), st.integers(0, 3)), max_size=60))
def test_is_the_sum_of_the_last_ten_seconds(steps: list[tuple[float, int, int]]) -> None:
    window = Window()
    moment_s, added = 1000.0, []
    for wait_s, first, second in steps:
        moment_s += wait_s
        add(window, moment_s, first, second)
        added.append((int(moment_s), first, second))
        recent = [one for one in added if one[0] > int(moment_s) - SECONDS]
        assert window.first == sum(one[1] for one in recent)
        assert window.second == sum(one[2] for one in recent)
