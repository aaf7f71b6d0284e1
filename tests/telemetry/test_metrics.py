from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from telemetry.journal_counters import JournalCounters
from telemetry.metrics import CAPTURE_HELP, SAMPLES_MAX, exposition, journal_counters, merged

names = st.sampled_from(["pointsman_a", "pointsman_b_total", "pointsman_c_seconds"])
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('"\\\n'))
label_sets = st.lists(
    st.tuples(st.sampled_from(["route", "backend"]), texts), max_size=2, unique_by=lambda x: x[0]
)


@given(st.dictionaries(st.tuples(names, label_sets.map(sorted).map(tuple)), st.floats(-1e9, 1e9)))
def test_a_reader_of_the_format_gets_back_every_sample(counters):
    found = {}
    for family in text_string_to_metric_families(exposition(counters)):
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    assert found == {(name, tuple(sorted(labels))): v for (name, labels), v in counters.items()}


def test_types_are_told_and_buckets_stand_in_their_order():
    name = "pointsman_request_seconds"
    counters = {
        (f"{name}_bucket", (("le", "+Inf"),)): 3.0,
        (f"{name}_bucket", (("le", "10"),)): 2.0,
        (f"{name}_bucket", (("le", "2.5"),)): 1.0,
        (f"{name}_sum", ()): 12.5,
        (f"{name}_count", ()): 3.0,
        ("pointsman_capture_dropped_total", ()): 0.0,
        ("pointsman_workers_connected", ()): 2.0,
    }
    lines = exposition(counters).splitlines()
    assert "# TYPE pointsman_request_seconds histogram" in lines
    assert "# TYPE pointsman_capture_dropped_total counter" in lines
    assert "# TYPE pointsman_workers_connected gauge" in lines
    assert [line for line in lines if "bucket" in line] == [
        f'{name}_bucket{{le="2.5"}} 1',
        f'{name}_bucket{{le="10"}} 2',
        f'{name}_bucket{{le="+Inf"}} 3',
    ]


def test_every_journal_counter_has_a_name_and_a_help_text():
    counters = journal_counters(JournalCounters(written=3, dropped=1))
    assert {name for name, _ in counters} == set(CAPTURE_HELP)
    assert counters["pointsman_capture_dropped_total", ()] == 1.0
    assert "# HELP pointsman_capture_dropped_total" in exposition(counters)


def test_processes_add_up():
    assert merged([{("a", ()): 1.0}, {("a", ()): 2.0, ("b", ()): 1.0}]) == {
        ("a", ()): 3.0,
        ("b", ()): 1.0,
    }


def test_a_label_set_that_is_not_closed_cannot_flood_a_scrape():
    counters = {("a", (("x", str(n)),)): 1.0 for n in range(SAMPLES_MAX + 10)}
    assert len(exposition(counters).splitlines()) == SAMPLES_MAX + 1
