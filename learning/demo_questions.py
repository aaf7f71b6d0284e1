"""What the demo asks, and what its config says: forty lines of YAML over three backends."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

QUESTIONS_FILE = Path(__file__).with_name("demo_prompts.jsonl")

PAYMENT_SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"amount": {"type": "number"}, "payee": {"type": "string"}},
    "required": ["amount", "payee"],
    "additionalProperties": False,
}

CONFIG = """\
# Written by `make demo`: a real model of one's own before two simulated hosted ones.
listen: 127.0.0.1:0
admin: 127.0.0.1:0
capture: {{directory: ./data, durability: process}}
backends:
  local:
    adapter: openai
    base_url: {base_url}
    model: {model}
    price: {{per_hour: 0.20}}        # a small virtual machine
    logprobs: true
    expect: {{first_token: 100ms, tokens_per_second: 20, completion_tokens: 8}}
  gpt-4:
    adapter: simulated
    model: gpt-4                      # priced from the table of list prices
    profile: {{like: gpt-4, answers: answers.jsonl}}
    expect: {{first_token: 500ms, tokens_per_second: 48, completion_tokens: 8}}
  o3-mini:
    adapter: simulated
    model: o3-mini
    profile: {{like: o3-mini, answers: answers.jsonl}}
    expect: {{first_token: 4.8s, tokens_per_second: 120, completion_tokens: 1000}}
checks:
  amount_is_plausible: {{at: /amount, schema: {{type: number, minimum: 0.01, maximum: 100000}}}}
  amount_is_in_prompt: {{at: /amount, in_prompt: true}}
routes:
  extract:
    match: {{model: auto, labels: {{task: "extract-*"}}}}
    candidates: [local, gpt-4, o3-mini]
    prefer: cheapest
    confidence: {{from: [checks, schema], accept: 0.5}}
    checks: [amount_is_plausible, amount_is_in_prompt]
    escalate: {{to: [gpt-4], max_steps: 1, within: 20s}}
    on_failure: [gpt-4]
    timeout: {{total: 60s}}
  sums:
    match: {{model: auto, labels: {{task: sums}}}}
    candidates: [local, gpt-4, o3-mini]
    prefer: cheapest
    confidence: {{from: [logprobs], accept: 0.9}}     # a small model is sure of wrong sums
    escalate: {{to: [o3-mini], max_steps: 1, within: 20s}}
    on_failure: [gpt-4]
    timeout: {{total: 60s}}
  ask:
    match: {{model: auto}}
    candidates: [local, gpt-4, o3-mini]
    prefer: cheapest
    confidence: {{from: [logprobs], accept: 0.45}}
    escalate: {{to: [gpt-4], max_steps: 1, within: 20s}}
    on_failure: [gpt-4]
    timeout: {{total: 60s}}
  default: {{candidates: [gpt-4]}}
"""


class Question(msgspec.Struct, frozen=True):
    """One prompt with its answer, which only the simulated backends know."""

    task: str
    prompt: str
    answer: str | dict[str, object]

    @property
    def wants_json(self) -> bool:
        """Whether the answer is an object of PAYMENT_SCHEMA."""
        return isinstance(self.answer, dict)

    def is_answered_by(self, text: str) -> bool:
        """Whether `text` holds the answer; objects must be equal member by member."""
        if isinstance(self.answer, str):
            words = text.casefold().split()
            wanted = self.answer.casefold()
            is_short = len(wanted) <= 3
            return (
                wanted in [w.strip(".,!") for w in words] if is_short else wanted in " ".join(words)
            )
        try:
            return bool(msgspec.json.decode(text) == self.answer)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False


def load_questions(path: Path = QUESTIONS_FILE) -> list[Question]:
    """The shipped questions, in the order they are asked."""
    decode = msgspec.json.Decoder(Question).decode
    return [decode(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def write_config(
    directory: Path, *, base_url: str, model: str, questions: Sequence[Question]
) -> Path:
    """Write config.yaml and the answers file beside it; the config's path."""
    encode = msgspec.json.encode
    answers = [encode({"prompt": q.prompt, "answer": q.answer}) for q in questions]
    (directory / "answers.jsonl").write_bytes(b"\n".join(answers) + b"\n")
    config = directory / "config.yaml"
    config.write_text(CONFIG.format(base_url=base_url, model=model), encoding="utf-8")
    return config
