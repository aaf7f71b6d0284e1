"""Who is best: ties, the unknown, and what each preference looks at."""

import pytest

from policies.inquiry import Cells, Inquiry
from policies.prediction import predict
from policies.ranking import best
from policies.view import View
from policies.words import Preference, Weights
from tests.support.policy_cases import BACKENDS, route_of

COMPILED = route_of("candidates: [local, gpt-4, o3-mini], escalate: {to: o3-mini}").compiled


def view(backend: str, usd: float | None, acceptable: float | None = None) -> View:
    inquiry = Inquiry(COMPILED.question, "t", 5, None)
    return View(backend, predict(BACKENDS[backend], inquiry, Cells()), usd, acceptable)


def taken(prefer: Preference, *views: View, weights: Weights | None = None) -> str:
    return best(prefer, COMPILED, list(views), weights).backend


def test_the_cheapest_is_taken_and_the_first_of_equals() -> None:
    assert taken("cheapest", view("local", 2.0), view("gpt-4", 1.0)) == "gpt-4"
    assert taken("cheapest", view("local", 1.0), view("gpt-4", 1.0)) == "local"


@pytest.mark.parametrize("prefer", ["cheapest", "fastest"])
def test_unknown_comes_last(prefer: Preference) -> None:
    assert taken(prefer, view("gpt-4", None), view("local", 9.0)) == "local"


def test_the_surest_is_the_likeliest_where_all_are_known() -> None:
    assert taken("surest", view("local", 1.0, 0.9), view("gpt-4", 2.0, 0.8)) == "local"
    assert taken("surest", view("local", 1.0, 0.9), view("o3-mini", 0.5)) == "o3-mini"
    assert taken("surest", view("local", 1.0), view("gpt-4", 2.0)) == "gpt-4"  # the dearest


def test_weights_are_dollars_of_what_may_go_wrong() -> None:
    cheap, sure = view("local", 0.01, 0.5), view("gpt-4", 0.02, 0.9)
    assert taken("weighted", cheap, sure, weights=Weights(error_usd=0.01)) == "local"
    assert taken("weighted", cheap, sure, weights=Weights(error_usd=0.05)) == "gpt-4"
