"""What the keeper keeps of the workers' health."""

from adapters.standing import Standing
from proxy.shared_health import BACKENDS_MAX, GRANT_S, SharedHealth

NOW_S = 1000.0


def told(state: str, since_s: float) -> Standing:
    return Standing("a", state, "", since_s)  # type: ignore[arg-type]


def test_the_latest_word_is_kept() -> None:
    shared = SharedHealth()
    assert shared.note(told("failing", NOW_S))
    assert not shared.note(told("ready", NOW_S))
    assert not shared.note(told("ready", NOW_S - 1))
    assert shared.note(told("ready", NOW_S + 1))
    assert [one.state for one in shared.standings] == ["ready"]


def test_one_worker_at_a_time_may_try() -> None:
    shared = SharedHealth()
    assert shared.grant("a", 0, NOW_S)
    assert not shared.grant("a", 1, NOW_S + GRANT_S - 0.01)
    assert shared.grant("b", 1, NOW_S), "another backend is another matter"
    assert shared.grant("a", 0, NOW_S + GRANT_S - 0.01), "the holder renews"
    assert not shared.grant("a", 1, NOW_S + GRANT_S)
    assert shared.grant("a", 1, NOW_S + 2 * GRANT_S)


def test_news_end_a_probe() -> None:
    shared = SharedHealth()
    shared.grant("a", 0, NOW_S)
    shared.note(told("failing", NOW_S + 0.1))
    assert shared.grant("a", 1, NOW_S + 0.2)


def test_a_new_configuration_starts_clean() -> None:
    shared = SharedHealth()
    shared.note(told("failing", NOW_S))
    shared.grant("a", 0, NOW_S)
    shared.forget()
    assert shared.standings == []
    assert shared.grant("a", 1, NOW_S)
    assert repr(shared) == "<SharedHealth 0 backends, 1 probes>"


def test_is_bounded() -> None:
    shared = SharedHealth()
    for number in range(BACKENDS_MAX + 10):
        shared.note(Standing(f"b{number}", "failing", "", NOW_S))
        shared.grant(f"b{number}", 0, NOW_S)
    assert len(shared.standings) == BACKENDS_MAX
    assert shared.grant("c", 0, NOW_S)
