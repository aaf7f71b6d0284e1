import xml.etree.ElementTree as ET

from learning.benchmark_page import page
from learning.benchmark_result import Grading, compare_pairs, grade, summarise
from tests.learning.test_benchmark_advice import BACKENDS, BAD, GOOD, advice
from tests.learning.test_benchmark_result import REQUIRE, item
from tests.support.backends import questions


def drawn(a, b):
    graded = grade(questions(len(a)), {"a": a, "b": b}, Grading(require=REQUIRE))
    results = summarise(graded, BACKENDS)
    return page(graded, results, compare_pairs(graded), advice(a, b), {"seed": "<0>"})


def test_a_page_is_whole_and_needs_nothing_from_outside():
    text = drawn(GOOD, BAD)
    root = ET.fromstring(text.removeprefix("<!doctype html>").replace('<meta charset="utf-8">', ""))
    assert len(list(root.iter("svg"))) == 3
    assert {"script", "img", "link"}.isdisjoint(element.tag for element in root.iter())
    assert "&lt;0&gt;" in text
    assert "a meets every requirement" in text


def test_what_is_unknown_is_not_drawn():
    nothing = [item(None, error="status_500", cost=None) for _ in range(3)]
    assert "<p>unknown</p>" in drawn(nothing, nothing)
