"""A canary that would wait for ever is told of when the file is read."""

import pytest

from pointsman.tokens import Price
from policies.facts import BackendFacts
from tests.support.policy_cases import warnings_of

FACTS = {
    "local": BackendFacts("local", Price(per_hour=1.8)),
    "next": BackendFacts("next", Price(per_hour=1.8)),
    "free": BackendFacts("free"),
}


def warned(words: str, *, keep: str = "error: +1pp", backend: str = "next") -> list[str]:
    text = f"""
        checks: {{amount: {{at: /v, in_prompt: true}}}}
        routes:
          default:
            candidates: [local]
            canary: {{backend: {backend}, replaces: local, share: 5%, keep_if: {{{keep}}}}}
            {words}
    """
    return [line for line in warnings_of(text, FACTS) if "canary: " in line]


def test_one_that_can_be_tested_is_not_warned_of() -> None:
    assert warned("checks: [amount]", keep="error: +1pp, p95: 1s, cost: +0%") == []
    assert warned("shadow: {backend: next, share: 1%}") == []
    assert warned("capture: metadata", keep="p95: 1s") == []


@pytest.mark.parametrize(
    ("words", "more", "said"),
    [
        ("capture: off", {"keep": "p95: 1s"}, "nothing is kept that could be tested"),
        ("hold: none", {}, "nothing on the route tells right from wrong"),
        ("checks: [amount]", {"keep": "cost: +0%", "backend": "free"}, "the price of 'free'"),
    ],
)
def test_one_that_cannot_is(words: str, more: dict[str, str], said: str) -> None:
    (line,) = warned(words, **more)
    assert said in line
    assert line.startswith("5:5: ")
