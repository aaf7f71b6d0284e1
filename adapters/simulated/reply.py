"""What a simulated backend answers to one call: text, tokens, logprobs, usage, pace.

Pure: everything random is drawn from (profile seed, backend, prompt, attempt), so a run can be
repeated, and a second try at the same prompt may come out otherwise.
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from .answers import known_answer, prompt_sha256, wrong_answer
from .call import Call
from .profile import Profile
from .text import TOKEN_CHARACTERS, json_value, sentence, split_tokens

MESSAGE_TOKENS = 7  # what the chat markup around one message costs, roughly
CACHE_TOKENS_MIN = 1024  # prompts from this length are cached, in steps of the next
CACHE_TOKENS_STEP = 128
SURENESS_SPREAD = 12.0  # the beta distribution's concentration: the larger, the narrower


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the answers. `tokens` joined are the text, or the tool's arguments."""

    tokens: tuple[str, ...]
    logprobs: tuple[float, ...] | None
    finish_reason: str
    tool: str | None = None
    """Name of the function called; then `tokens` are its arguments."""

    @property
    def text(self) -> str:
        """The whole answer."""
        return "".join(self.tokens)


@dataclass(frozen=True, slots=True)
class Reply:
    """Everything about one answer. Spans in seconds, already scaled by the profile's speed."""

    id: str
    choices: tuple[Choice, ...]
    prompt_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    first_token_s: float
    token_s: float

    @property
    def completion_tokens(self) -> int:
        """Visible and reasoning tokens of all choices."""
        return self.reasoning_tokens + sum(len(choice.tokens) for choice in self.choices)


def compose(
    backend: str, profile: Profile, answers: Mapping[str, str], call: Call, *, attempt: int
) -> Reply:
    """The answer of `backend` to its `attempt`-th sight (from 0) of this prompt."""
    key = prompt_sha256(call.prompt)
    seed = f"{profile.seed}|{backend}|{key}"
    draw = random.Random(f"{seed}|{attempt}")
    prompt_tokens = MESSAGE_TOKENS + -(-call.prompt_characters // TOKEN_CHARACTERS)
    reasoning = _reasoning_tokens(profile, prompt_tokens, draw)
    choices = tuple(
        _limited(
            _choice(profile, answers, call, f"{seed}|{attempt}|{index}"),
            call,
            reasoning,
        )
        for index in range(call.choices)
    )
    if call.tokens_max is not None:
        reasoning = min(reasoning, call.tokens_max)
    factor = math.exp(profile.sigma * draw.gauss()) / profile.speed
    cached = prompt_tokens // CACHE_TOKENS_STEP * CACHE_TOKENS_STEP
    return Reply(
        id=f"chatcmpl-{draw.getrandbits(116):029x}",
        choices=choices,
        prompt_tokens=prompt_tokens,
        cached_tokens=cached if attempt and prompt_tokens >= CACHE_TOKENS_MIN else 0,
        reasoning_tokens=reasoning,
        first_token_s=factor * profile.first_token_s,
        token_s=factor / profile.tokens_per_second,
    )


def _choice(profile: Profile, answers: Mapping[str, str], call: Call, seed: str) -> Choice:
    draw = random.Random(seed)
    is_wrong = draw.random() < profile.error_rate
    if call.tool is not None:
        arguments = _json(call.tool.parameters, call.prompt)
        finish = "stop" if call.tool.is_named else "tool_calls"
        tokens = tuple(split_tokens(arguments))
        return Choice(tokens, _logprobs(profile, tokens, False, draw), finish, call.tool.name)
    right = known_answer(answers, call.prompt)
    is_wrong = {"wrong": True, "right": False}.get(
        call.faults.answer or "", is_wrong and right is not None
    )
    text = right if right is not None else _made_up(profile, call)
    if is_wrong:
        text = wrong_answer(text, draw)
    if call.faults.answer == "empty":
        text = ""
    tokens = tuple(split_tokens(text))
    return Choice(tokens, _logprobs(profile, tokens, is_wrong, draw), "stop")


def _made_up(profile: Profile, call: Call) -> str:
    """The same for every attempt: it follows from the prompt alone."""
    if call.schema is not None:
        return _json(call.schema or {"type": "object", "properties": {"answer": {}}}, call.prompt)
    draw = random.Random(call.prompt)
    length = round(profile.completion_tokens * draw.uniform(0.7, 1.3))
    return sentence(call.prompt, length, draw)


def _json(schema: dict[str, object], prompt: str) -> str:
    value = json_value(schema, prompt, random.Random(prompt))
    return msgspec.json.encode(value).decode()


def _reasoning_tokens(profile: Profile, prompt_tokens: int, draw: random.Random) -> int:
    if not profile.is_reasoning:
        return 0
    usual = profile.reasoning_tokens + profile.reasoning_per_prompt_token * prompt_tokens
    return round(usual * draw.uniform(0.85, 1.3))


def _logprobs(
    profile: Profile, tokens: tuple[str, ...], is_wrong: bool, draw: random.Random
) -> tuple[float, ...] | None:
    """One answer is surer than another, and its tokens vary around that."""
    if not profile.has_logprobs:
        return None
    usual = profile.sureness[is_wrong]
    alpha, beta = usual * SURENESS_SPREAD, (1 - usual) * SURENESS_SPREAD
    mean = math.log(min(0.9999, max(0.01, draw.betavariate(alpha, beta))))
    return tuple(round(mean * draw.uniform(0.3, 1.7), 6) for _ in tokens)


def _limited(choice: Choice, call: Call, reasoning_tokens: int) -> Choice:
    """Cut at stop words and token limits; a fault's finish_reason wins over the real one."""
    choice = _stopped(choice, call.stop)
    limits = [call.visible_tokens_max, call.tokens_max and call.tokens_max - reasoning_tokens]
    limit = min((max(0, limit) for limit in limits if limit is not None), default=None)
    if limit is not None and len(choice.tokens) > limit:
        choice = _shortened(choice, limit, "length")
    if call.faults.finish:
        kept = len(choice.tokens)
        if call.faults.finish == "length":
            kept //= 2
        choice = _shortened(choice, kept, call.faults.finish)
    return choice


def _stopped(choice: Choice, words: tuple[str, ...]) -> Choice:
    text = choice.text
    ends = [at for word in words if word and (at := text.find(word)) >= 0]
    if not ends or choice.tool:
        return choice
    tokens = tuple(split_tokens(text[: min(ends)]))
    logprobs = choice.logprobs and choice.logprobs[: len(tokens)]
    return replace(choice, tokens=tokens, logprobs=logprobs)


def _shortened(choice: Choice, length: int, finish_reason: str) -> Choice:
    return replace(
        choice,
        tokens=choice.tokens[:length],
        logprobs=None if choice.logprobs is None else choice.logprobs[:length],
        finish_reason=finish_reason,
    )
