"""The benchmark of decisions: that it measures decisions with the chances it says."""

import pytest

from benchmarks.decision import BACKENDS, Decider, report
from learning.fit import fit_model, prompt_example
from policies.decision import Decision


@pytest.fixture(scope="module")
def decider() -> Decider:
    examples = [prompt_example(text, "t") for text in ("easy", "hard") * 20]
    return Decider(20, fit_model(examples, dict.fromkeys(BACKENDS, [1, 0] * 20)))


def test_a_decision_with_text_knows_the_chances_of_all(decider: Decider) -> None:
    decision = decider.with_text("easy")
    assert isinstance(decision, Decision)
    assert decision.route.name == "r19"
    assert all((one.p_acceptable or 0) > 0.5 for one in decision.candidates)


def test_a_decision_without_text_knows_none(decider: Decider) -> None:
    decision = decider.without("easy")
    assert isinstance(decision, Decision)
    assert [one.p_acceptable for one in decision.candidates] == [None] * 3


def test_a_row_is_printed(decider: Decider, capsys: pytest.CaptureFixture[str]) -> None:
    report("name", decider.without, ["a", "b"], 3)
    assert capsys.readouterr().out.split()[0] == "name"
