"""The page of a backtest."""

from learning.backtest import Backtest, Move
from learning.backtest_page import page
from learning.off_policy import Estimate, Finding

GOOD = Finding(Estimate(1, 0.9, 1.1), Estimate(1, 0.8, 1.2), Estimate(2, 2, 2), 900, 400, 60, None)
BAD = Finding(None, None, None, 0, 0.0, 0, "too <few>")


def test_estimates_are_drawn_and_refusals_said() -> None:
    found = Backtest(
        {"cost_usd": GOOD, "error": BAD}, 900, [Move("a<b", "b", 5, "why")], {"no request": 3}
    )
    text = page(found, name="new.yaml")
    assert text.count("<circle") == 3
    assert "No estimate: too &lt;few&gt;." in text
    assert "<td>a&lt;b<td>b<td>5<td>why" in text
    assert "no request: 3" in text
    assert "<script" not in text


def test_an_estimate_without_width_is_drawn_too() -> None:
    flat = GOOD._replace(
        snips=None, doubly_robust=None, logged=Estimate(2, 2, 2)
    )  # nothing to divide by
    assert "<circle" in page(Backtest({"total_s": flat}, 1, [], {}), name="n")
