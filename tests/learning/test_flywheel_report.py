import math

from learning.flywheel_report import (
    Line,
    faults,
    of_benchmark,
    of_outcomes,
    proof,
    quantile,
    table,
    verdict,
)
from learning.flywheel_traffic import Outcome


def line(name, error=0.05, p90_s=0.5, usd=1.0):
    return Line(name, 100, round(100 * error), 0.3, p90_s, 2.0, usd, {name: 1.0})


BEFORE = [line("gpt-4", 0.11, 1.5, 5.0), line("o3-mini", 0.04, 9.0, 8.0)]


def test_a_line_of_calls():
    outcomes = [
        Outcome("{}", number > 0, 0.1 * (number + 1), str(number), "student", 0.001)
        for number in range(9)
    ]
    outcomes.append(Outcome("{}", True, 6.0, "9", "o3-mini", 0.011, is_escalated=True))
    found = of_outcomes(outcomes, "routed")
    assert (found.n, found.wrong, found.error) == (10, 1, 0.1)
    assert math.isclose(found.p90_s, 0.9)
    assert found.p95_s == 6.0
    assert math.isclose(found.usd_per_1k, 2.0)
    assert found.shares == {"student": 0.9, "o3-mini": 0.1}


def test_an_unknown_cost_is_no_cost_of_nothing():
    found = of_outcomes(
        [Outcome("", False, 1.0, "a", cost_usd=1.0), Outcome("", False, 1.0, "b")], "x"
    )
    assert found.usd_per_1k is None
    assert found.shares == {"nobody": 1.0}
    assert "cost is not below that of gpt-4" in faults(found, BEFORE, 9.0)


def test_a_line_of_a_benchmark():
    found = of_benchmark(
        {"backend": "gpt-4", "n_judged": 200, "n_err": 22, "p50": [1e6, 0, 0], "p90_us": 2e6,
         "p95": [3e6, 0, 0], "usd_per_1k": None}
    )  # fmt: skip
    assert found == Line("gpt-4", 200, 22, 1.0, 2.0, 3.0, None, {"gpt-4": 1.0})


def test_what_is_met_and_what_is_missed():
    assert faults(line("routed"), BEFORE, 1.2) == []
    assert faults(line("routed", error=0.1), BEFORE, 1.2) == ["error 10.0% is above 9%"]
    assert faults(line("routed", p90_s=1.6), BEFORE, 1.2) == [
        "p90 1600 ms is above its 1200 ms", "p90 is not below that of gpt-4"
    ]  # fmt: skip
    assert faults(line("routed", usd=6.0), BEFORE, 1.2) == ["cost is not below that of gpt-4"]


def test_the_verdict_names_the_budget_beside_the_talks():
    said = verdict(line("routed"), [], "1200ms", 0.083)
    assert said == (
        "met: error <= 9%, p90 and cost below both; budget p90 <= 1200ms on this machine"
        " (the talk's: 200 ms); p95 2000 ms, escalated 8.3%"
    )
    assert verdict(line("routed"), ["x"], "1s", 0.0).startswith("MISSED: x; budget p90 <= 1s")


def test_the_table_has_columns():
    rows = table([line("gpt-4"), line("student alone", usd=None)])
    assert rows[0].split() == ["n", "error", "95", "%", "p50", "p90", "p95", "per", "1,000",
                               "answered", "by"]  # fmt: skip
    assert rows[2].startswith("student alone  100   5.0%")
    assert rows[1].index("300 ms") == rows[2].index("300 ms")


def test_quantiles_are_values_that_were_seen():
    assert quantile([1.0, 2.0, 3.0], 0.5) == 2.0
    assert quantile([1.0], 0.95) == 1.0
    assert math.isnan(quantile([], 0.5))


def test_a_proof_in_words():
    refused = {"refused": True, "reason": "12 labels are too few: 20 more are needed"}
    assert proof(refused) == "no promise: 12 labels are too few: 20 more are needed"
    lock = {"refused": False, "max": 0.09, "confidence": 0.95, "errors": 7, "labels": 150,
            "bound": 0.086, "accept": 0.91}  # fmt: skip
    assert "error at most 9% at 95% (7 wrong of 150 labels, bound 8.6%)" in proof(lock)
