from pathlib import Path

from benchmarks.learning import GOALS, MEASURES, PLANTED_EVERY, fill, run_measure


def test_every_measure_gives_figures_of_a_small_store(tmp_path: Path) -> None:
    directory = tmp_path / "store"
    fill(directory, 20 * PLANTED_EVERY)
    found: dict[str, float] = {}
    for name in MEASURES:
        found |= run_measure(name, directory)
    assert set(GOALS) <= set(found)
    assert found["export_rows"] == 20 * PLANTED_EVERY
    assert found["planted"] == 20
    assert found["planted_found"] >= 0.9
    assert found["overlap"] == 0
