from telemetry.ids import IdSource
from telemetry.queries import captures
from telemetry.retention import drop_expired
from tests.support.records import keep, make_record

DAY_S = 86_400
NOW_S = 1_760_000_000.0


def record_of(moment_s):
    return make_record(id=IdSource(lambda: int(moment_s * 1e9))())


def test_drops_days_that_ended_before_the_span_and_no_others(tmp_path):
    ages_d = (0, 1, 29, 30, 31, 32, 400)
    keep(tmp_path, [record_of(NOW_S - age * DAY_S) for age in ages_d])
    dropped = drop_expired(tmp_path, keep_s=30 * DAY_S, now_s=NOW_S)
    assert [path.name for path in dropped] == [
        "capture-2024-09-04.db",
        "capture-2025-09-07.db",
        "capture-2025-09-08.db",
    ]
    assert len(list(captures(tmp_path))) == 4
    assert not [path for path in tmp_path.iterdir() if "2024" in path.name]


def test_dropping_again_does_nothing(tmp_path):
    keep(tmp_path, [record_of(NOW_S)])
    assert drop_expired(tmp_path, keep_s=DAY_S, now_s=NOW_S) == []
    assert drop_expired(tmp_path / "missing", keep_s=DAY_S, now_s=NOW_S) == []
