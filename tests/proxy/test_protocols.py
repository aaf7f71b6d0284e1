"""A route that mixes protocols is refused at the name that does not fit."""

from pathlib import Path

import pytest

from pointsman.errors import ConfigError
from proxy.configuration import parse_configuration

BACKENDS = """\
backends:
  gpt: {adapter: openai, base_url: http://127.0.0.1:1/v1, price: {input: 1, output: 2}}
  azure: {adapter: azure, base_url: http://127.0.0.1:1, price: {input: 1, output: 2}}
  claude: {adapter: anthropic, price: {input: 1, output: 2}}
routes:
"""


def problems(routes: str) -> list[str]:
    text = BACKENDS + routes
    try:
        parse_configuration(text, file=Path("c.yaml"), environment={})
    except ConfigError as error:
        return [f"{one.line}:{one.column}: {one.message}" for one in error.problems]
    return []


def test_a_judge_may_speak_its_own() -> None:
    assert (
        problems("  default: {candidates: [gpt], confidence: {judge: claude, accept: 0.5}}\n") == []
    )


def test_one_protocol_a_route_is_fine() -> None:
    routes = "  default: {candidates: [gpt, azure]}\n  claude-x: {candidates: [claude]}\n"
    assert problems(routes) == []


@pytest.mark.parametrize(
    "words",
    [
        "candidates: [gpt, claude]",
        "candidates: [gpt], on_failure: [claude]",
        "candidates: [gpt], confidence: {from: [schema], accept: 0.5}, escalate: {to: [claude]}",
        "candidates: [gpt], shadow: {backend: claude, share: 2%}",
    ],
)
def test_another_protocol_is_named_where_it_stands(words: str) -> None:
    line = f"  default: {{{words}}}"
    assert problems(line) == [
        f"6:{line.index('claude') + 1}: route 'default' mixes protocols: "
        "'claude' speaks anthropic, 'gpt' speaks openai; give each a route of its own"
    ]
