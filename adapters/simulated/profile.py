"""How a simulated backend behaves: its pace, its tokens, how often it errs, how it fails.

Three profiles have names. They are one company's measured month: GPT-4 answers in about a
second and errs on 11 % of the tasks, o3-mini takes about five and errs on 4 %, a small model
of one's own takes 0.15 s. `o3-mini` thinks before it speaks, and the more it is given to read
the longer: its tokens outweigh its lower price at GPT-4's list price of $30/$60.

An answer of `n` visible tokens takes `factor * (first_token_s + n / tokens_per_second)`, with
`factor` log-normal, median 1, and 95 % of answers below `p95_ratio`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pointsman.decoding import (
    Findings,
    Section,
    boolean,
    describe,
    duration_s,
    integer,
    nearest,
    number,
    share,
    text,
)
from pointsman.document import ListNode, MapNode, Node, ScalarNode

from .faults import parse_faults

COMPLETION_TOKENS_MAX = 100_000
_P95 = 1.6449  # the standard normal's 95 % quantile


@dataclass(frozen=True, slots=True)
class Profile:
    """One way to behave. `speed` multiplies every pace; `math.inf` answers at once."""

    name: str
    first_token_s: float = 0.2
    tokens_per_second: float = 50.0
    p95_ratio: float = 2.0
    error_rate: float = 0.0
    """Share of the tasks with a known answer that are answered wrongly."""
    completion_tokens: int = 24
    """Visible tokens of an answer where none is known."""
    reasoning_tokens: int = 0
    reasoning_per_prompt_token: float = 0.0
    has_logprobs: bool = True
    sureness: tuple[float, float] = (0.93, 0.80)
    """Typical probability of a token in a right and in a wrong answer."""
    answers: Path | None = None
    faults: str = ""
    """Faults every request meets, as in `metadata.simulate`."""
    fault_rate: float = 1.0
    """Share of the requests that meet `faults`."""
    speed: float = 1.0
    seed: int = 0

    @property
    def is_reasoning(self) -> bool:
        """Whether answers come with reasoning tokens."""
        return self.reasoning_tokens > 0 or self.reasoning_per_prompt_token > 0

    @property
    def is_instant(self) -> bool:
        """Whether time is left out altogether."""
        return math.isinf(self.speed)

    @property
    def sigma(self) -> float:
        """Of the time factor's logarithm."""
        return math.log(self.p95_ratio) / _P95


PROFILES: Mapping[str, Profile] = {
    "gpt-4": Profile(
        name="gpt-4",
        first_token_s=0.5,
        tokens_per_second=48.0,
        p95_ratio=2.2,
        error_rate=0.11,
        sureness=(0.95, 0.85),
    ),
    "o3-mini": Profile(
        name="o3-mini",
        first_token_s=4.8,
        tokens_per_second=120.0,
        p95_ratio=2.0,
        error_rate=0.04,
        reasoning_tokens=900,
        reasoning_per_prompt_token=8.0,
        has_logprobs=False,
    ),
    "local": Profile(
        name="local",
        first_token_s=0.04,
        tokens_per_second=220.0,
        p95_ratio=1.5,
        error_rate=0.08,
        sureness=(0.97, 0.70),
    ),
}


def decode_profile(
    node: Node | None, name: str, *, findings: Findings, directory: Path
) -> Profile | None:
    """`gpt-4`, or `{like: gpt-4, latency: {median: 1s, p95: 2s}, ...}` over that profile.

    `name` is the backend's; paths are relative to `directory`. None after an error.
    """
    if node is None:
        return replace(PROFILES.get(name, Profile(name)), name=name)
    if isinstance(node, MapNode):
        return _custom(Section(node, findings, f"the profile of {name!r}"), directory)
    if isinstance(node, ScalarNode) and node.text in PROFILES:
        return PROFILES[node.text]
    hint = nearest(node.text, list(PROFILES)) if isinstance(node, ScalarNode) else ""
    findings.error(node.at, f"profile: {describe(node)} is not a profile{hint}")
    return None


def _custom(section: Section, directory: Path) -> Profile:
    base = _base(section)
    pace = _pace(section, base)
    answers = section.read("answers", text)
    profile = replace(
        pace,
        error_rate=section.read("error_rate", share, base.error_rate),
        completion_tokens=section.read(
            "completion_tokens", integer(0, COMPLETION_TOKENS_MAX), base.completion_tokens
        ),
        reasoning_tokens=section.read(
            "reasoning_tokens", integer(0, COMPLETION_TOKENS_MAX), base.reasoning_tokens
        ),
        reasoning_per_prompt_token=section.read(
            "reasoning_per_prompt_token", number(0, 1000), base.reasoning_per_prompt_token
        ),
        has_logprobs=section.read("logprobs", boolean, base.has_logprobs),
        answers=directory / answers if answers else base.answers,
        faults=section.read("faults", _faults, base.faults),
        fault_rate=section.read("fault_rate", share, base.fault_rate),
        speed=section.read("speed", _speed, base.speed),
        seed=section.read("seed", integer(0), base.seed),
    )
    section.done()
    if profile.answers and not profile.answers.is_file():
        section.findings.error(section.at_key("answers"), f"answers: no file {profile.answers}")
    return profile


def _base(section: Section) -> Profile:
    like = section.read("like", text)
    if like is None:
        return Profile("custom")
    if like not in PROFILES:
        section.findings.error(
            section.at_key("like"), f"like: {like!r} is not a profile{nearest(like, [*PROFILES])}"
        )
        return Profile("custom")
    return PROFILES[like]


def _pace(section: Section, base: Profile) -> Profile:
    """First token and tokens per second; `latency.median` is of an answer of usual length."""
    tokens_per_second = section.read("tokens_per_second", number(0.001), base.tokens_per_second)
    latency = section.subsection("latency")
    median_s = p95_s = None
    if latency is not None:
        median_s = latency.read("median", duration_s)
        p95_s = latency.read("p95", duration_s)
        latency.done()
        if median_s is None:
            latency.findings.error(latency.at, "latency needs 'median'")
    first_token_s = section.read("first_token", duration_s)
    if first_token_s is None:
        visible_s = base.completion_tokens / tokens_per_second
        first_token_s = base.first_token_s if median_s is None else max(0.0, median_s - visible_s)
    ratio = base.p95_ratio
    if median_s and p95_s:
        ratio = p95_s / median_s
    if ratio < 1:
        section.findings.error(section.at_key("latency"), "latency: p95 is below the median")
        ratio = 1.0
    return replace(
        base,
        first_token_s=first_token_s,
        tokens_per_second=tokens_per_second,
        p95_ratio=ratio,
    )


def _speed(node: Node) -> float:
    if isinstance(node, ScalarNode) and node.text == "instant":
        return math.inf
    try:
        return number(0.001)(node)
    except ValueError as error:
        raise ValueError(f"{error}; or write instant") from None


def _faults(node: Node) -> str:
    items = node.items if isinstance(node, ListNode) else (node,)
    words = ",".join(text(item) for item in items)
    parse_faults(words)
    return words
