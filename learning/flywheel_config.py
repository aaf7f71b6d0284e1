"""The flywheel's sizes, and its configuration at each stage, as an operator would edit it. Pure."""

from typing import Final, NamedTuple

TALK_BUDGET: Final = "200 ms"
"""What the talk asks of production hardware."""

HEAD: Final = """\
listen: 127.0.0.1:0
admin: 127.0.0.1:0
capture: {{directory: ./data}}
backends:
  gpt-4:
    adapter: simulated
    profile: {{like: gpt-4, answers: answers.jsonl, speed: {speed:g}}}
    price: {{input: 30, output: 60}}
  o3-mini:
    adapter: simulated
    profile: {{like: o3-mini, answers: answers.jsonl, speed: {speed:g}}}
    price: {{input: 1.10, output: 4.40}}
    reasoning: true
"""
OWN: Final = """\
  {name}:
    adapter: openai
    base_url: {url}
    model: model
    price: {{per_hour: 0.20}}
    logprobs: true
    expect: {{first_token: 200ms, tokens_per_second: 80}}
"""
STUB: Final = """\
  {name}:
    adapter: simulated
    profile: {{like: local, answers: answers.jsonl, speed: {speed:g}}}
    price: {{per_hour: 0.20}}
    logprobs: true
    expect: {{first_token: 40ms, tokens_per_second: 200}}
"""
CHECKS: Final = """\
checks:
  payoff_was_said: {at: /payoff, in_prompt: true}
  escrow_was_said: {at: /escrow, in_prompt: true}
  fee_was_said: {at: /fee, in_prompt: true}
"""
REQUIRE: Final = """\
    require:
      latency: {{p90: {budget}, of: total}}
      error: {{max: 9%, confidence: 95%, reference: o3-mini}}
      cost: {{max: $0.006}}
"""
TODAY: Final = """\
routes:
  extract:
    match: {model: auto}
    candidates: [gpt-4]
"""
HELD: Final = """\
routes:
  extract:
    match: {model: auto}
    candidates: [gpt-4, o3-mini]
"""
JUDGED: Final = """\
    checks: [payoff_was_said, escrow_was_said, fee_was_said]
    confidence: {{from: [checks, logprobs], accept: {accept}}}
"""
TRIAL: Final = """\
routes:
  extract:
    match: {model: auto}
    candidates: [student]
"""
CANARY: Final = """\
    checks: [payoff_was_said, escrow_was_said, fee_was_said]
    confidence: {{from: [checks], accept: 0}}
    canary:
      backend: student
      replaces: gpt-4
      stages: [shadow, 75%, 100%]
      keep_if: {{error: +10pp, p90: {budget}, cost: +0%}}
      min_samples: 30
      then: promote
"""
ROUTED: Final = """\
routes:
  extract:
    match: {model: auto}
    candidates: [student]
"""
DEFAULT: Final = """\
  default: {candidates: [gpt-4]}
"""
ESCALATED: Final = """\
    prefer: cheapest
    if_none: fastest
    escalate: {to: [o3-mini], max_steps: 1, within: 30s}
"""


class Size(NamedTuple):
    """How much of everything; the budgets are this machine's."""

    calls: int = 2000
    benchmarked: int = 2000
    labelled: int = 550
    samples: int = 3
    """Of the teacher, each; most of them decide."""
    steps: int = 44
    batch: int = 6
    baseline: int = 12
    trial: int = 130
    canary: int = 600
    routed: int = 80
    at_once: int = 1000
    """Calls under way to the hosted backends."""
    own_at_once: int = 1
    """To the student: on two cores two at once take twice as long as one after the other."""
    threads: int = 2
    speed: float = 1.0
    budget: str = "1000ms"


SMALL: Final = Size(
    calls=400, benchmarked=300, labelled=300, trial=150, canary=500, routed=60, at_once=32,
    own_at_once=8, speed=20.0, samples=1,
)  # fmt: skip
"""CI's, under 90 s on two busy cores; its latencies are not the talk's."""


class Stage(NamedTuple):
    """What all stages share. `url` is the student's; None: it is simulated."""

    budget: str
    speed: float
    url: str | None = None

    def today(self) -> str:
        """GPT-4 answers, as before all this."""
        return self._head() + TODAY + DEFAULT

    def measured(self) -> str:
        """The requirements, to hold backends against them."""
        return self._head() + HELD + REQUIRE.format(budget=self.budget) + DEFAULT

    def baseline(self) -> str:
        """The untrained model beside the others."""
        assert self.url is not None
        own = OWN.format(name="untrained", url=self.url)
        return self._head() + own + HELD + REQUIRE.format(budget=self.budget) + DEFAULT

    def trial(self) -> str:
        """The student answers, whatever its confidence, so that the confidence can be judged."""
        return self._own() + CHECKS + TRIAL + JUDGED.format(accept=0) + DEFAULT

    def canary(self) -> str:
        """The student beside GPT-4, judged by the checks; nothing escalates."""
        return self._own() + CHECKS + TODAY + CANARY.format(budget=self.budget) + DEFAULT

    def routed(self) -> str:
        """The student answers; where it is unsure, o3-mini does. The errors are promised."""
        return (
            self._own()
            + CHECKS
            + ROUTED
            + REQUIRE.format(budget=self.budget)
            + JUDGED.format(accept="calibrated")
            + ESCALATED
            + DEFAULT
        )

    def _head(self) -> str:
        return HEAD.format(speed=self.speed)

    def _own(self) -> str:
        own = STUB if self.url is None else OWN
        return self._head() + own.format(name="student", url=self.url, speed=self.speed)
