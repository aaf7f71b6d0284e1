"""What stands of a candidate while a decision is being made."""

from policies.inquiry import Cells, Inquiry
from policies.prediction import predict
from policies.view import View
from tests.support.policy_cases import BACKENDS, route_of


def view(backend: str, rank_usd: float | None = 0.5) -> View:
    compiled = route_of("candidates: [local, gpt-4]").compiled
    inquiry = Inquiry(compiled.question, "t", 5, None)
    return View(backend, predict(BACKENDS[backend], inquiry, Cells()), rank_usd, None)


def test_a_cost_that_is_only_good_for_ranking_is_not_told() -> None:
    assert (view("gpt-4").rank_usd, view("gpt-4").cost_usd) == (0.5, None)
    assert view("local").cost_usd == 0.5


def test_nothing_speaks_against_it_at_first() -> None:
    assert view("local").failure is None
