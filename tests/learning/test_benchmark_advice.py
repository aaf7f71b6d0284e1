import dataclasses

import pytest

from adapters.backend import Backend
from learning.benchmark_advice import Traffic, advise, read_traffic
from learning.benchmark_result import Grading, grade, summarise
from learning.captured import EVERYTHING
from pointsman.tokens import Price
from tests.learning.test_benchmark_result import REQUIRE, item, right
from tests.support.backends import questions
from tests.support.records import keep, make_record

OWN = Backend(
    "own", "simulated", "m", price=Price(per_hour=3.6), first_token_s=0.0,
    tokens_per_second=100.0, completion_tokens=50.0,
)  # fmt: skip
BACKENDS = {
    name: dataclasses.replace(OWN, name=name, price=Price(input=1.0, output=1.0))
    for name in ("a", "b")
} | {"own": OWN}

NO_TRAFFIC = Traffic()


def advice(a, b=None, traffic=NO_TRAFFIC, **grading):
    items = {"a": a} if b is None else {"a": a, "b": b}
    graded = grade(questions(len(a)), items, Grading(**{"require": REQUIRE, **grading}))
    return advise(summarise(graded, BACKENDS), BACKENDS, traffic, route="extract")


GOOD = [item(right(n)) for n in range(200)]
DEAR = [item(right(n), cost=0.005) for n in range(200)]
BAD = [item("no", cost=0.05) for n in range(200)]


def test_the_cheapest_of_those_that_meet_all_wins():
    found = advice(DEAR, GOOD)
    assert found.winner == "b"
    assert "b meets every requirement (so do a, dearer)" in found.verdict
    assert any("candidates: [b" in line for line in found.commands)


def test_where_none_does_a_student_is_proposed():
    found = advice(BAD, traffic=Traffic(1000, 120, 500.0))
    assert found.winner is None
    assert found.verdict == "no backend meets every requirement"
    text = "\n".join(found.lines)
    assert "misses error (9.0%), cost ($0.01)" in text
    assert "save $49.50 per 1,000 requests, $24.75 a day at 500" in text
    assert "120 usable labelled rows of 1000" in text
    assert found.commands[0].startswith("pointsman label --route extract --teacher a")


def test_a_saving_below_nothing_is_not_promised():
    found = advice([item("no", cost=0.0001) for _ in range(200)], traffic=Traffic(1000, 120, 500.0))
    text = "\n".join(found.lines)
    assert "would save" not in text
    assert "120 usable labelled rows of 1000" in text


def test_where_samples_are_missing_more_are_proposed():
    found = advice(GOOD[:30])
    assert found.verdict.startswith("undecided: a may meet every requirement, ")
    assert found.commands == ["pointsman benchmark --route extract --sample 39"]


def test_without_requirements_nobody_is_judged():
    from policies.words import Require

    assert "no requirements" in advice(GOOD, require=Require()).verdict


def test_the_machine_of_a_student_counts_where_its_pace_is_known():
    graded = grade(questions(200), {"a": BAD}, Grading(require=REQUIRE))
    priced = {"a": BACKENDS["a"]}
    found = advise(summarise(graded, priced), priced, Traffic(), route=None)
    assert any("its machine not counted" in line for line in found.lines)


def test_traffic_is_counted(tmp_path):
    assert read_traffic(tmp_path, EVERYTHING) == Traffic()
    keep(tmp_path, [make_record() for _ in range(5)])
    traffic = read_traffic(tmp_path, EVERYTHING)
    assert (traffic.captures, traffic.labelled) == (5, 0)
    assert traffic.per_day == pytest.approx(120)
