"""How profiles are declared, and what the three named ones promise."""

import math
import random
import statistics
from pathlib import Path

import pytest

from adapters.prices import load_list_prices
from adapters.simulated.call import Call
from adapters.simulated.profile import PROFILES, Profile, decode_profile
from adapters.simulated.reply import compose
from pointsman.decoding import Findings
from pointsman.document import parse
from pointsman.tokens import Usage


def decoded(text: str, directory: Path = Path()) -> tuple[Profile | None, list[str]]:
    findings = Findings()
    profile = decode_profile(parse(text, "f"), "b", findings=findings, directory=directory)
    return profile, [problem.message for problem in findings.errors]


def read(text: str, directory: Path = Path()) -> Profile:
    profile, errors = decoded(text, directory)
    assert profile is not None
    assert errors == []
    return profile


def test_a_name_stands_for_a_profile() -> None:
    assert read("gpt-4") is PROFILES["gpt-4"]


def test_latency_is_that_of_an_answer_of_usual_length() -> None:
    profile = read("{latency: {median: 1s, p95: 3s}, tokens_per_second: 48}")
    usual_s = profile.first_token_s + profile.completion_tokens / profile.tokens_per_second
    assert usual_s == pytest.approx(1.0)
    assert profile.p95_ratio == pytest.approx(3.0)


def test_a_custom_profile_starts_from_another() -> None:
    profile = read("{like: o3-mini, error_rate: 2%, reasoning_tokens: 10, seed: 7}")
    assert (profile.error_rate, profile.reasoning_tokens, profile.seed) == (0.02, 10, 7)
    assert profile.first_token_s == PROFILES["o3-mini"].first_token_s


def test_speed_is_a_factor_or_instant() -> None:
    assert read("{speed: 10}").speed == 10
    assert read("{speed: instant}").is_instant


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpt-5", "'gpt-5' is not a profile"),
        ("{like: gtp-4}", "did you mean 'gpt-4'"),
        ("{sped: 3}", "did you mean 'speed'"),
        ("{speed: 0}", "or write instant"),
        ("{faults: [explode]}", "'explode' is not a fault"),
        ("{latency: {p95: 2s}}", "needs 'median'"),
        ("{latency: {median: 2s, p95: 1s}}", "p95 is below the median"),
        ("{answers: nowhere.jsonl}", "no file"),
        ("{error_rate: 0.1}", "is not a share"),
        ("[gpt-4]", "is not a profile"),
    ],
)
def test_faults_in_a_profile_are_named(text: str, message: str) -> None:
    _, errors = decoded(text)
    assert any(message in error for error in errors), errors


def test_the_named_profiles_take_the_time_they_claim() -> None:
    for name, median_s in (("gpt-4", 1.0), ("o3-mini", 5.0), ("local", 0.15)):
        profile = PROFILES[name]
        times = []
        for i in range(400):
            reply = compose(name, profile, {}, Call("m", f"{i}?", 80), attempt=0)
            visible = reply.completion_tokens - reply.reasoning_tokens
            times.append(reply.first_token_s + visible * reply.token_s)
        times.sort()
        assert statistics.median(times) == pytest.approx(median_s, rel=0.15)
        assert times[380] / times[200] == pytest.approx(profile.p95_ratio, rel=0.3)


def test_o3_mini_is_dearer_than_gpt_4_at_list_prices() -> None:
    prices = load_list_prices().models
    draw = random.Random(1)
    for _ in range(50):
        call = Call("m", "?", draw.randrange(20, 8000))
        costs = []
        for name in ("gpt-4", "o3-mini"):
            reply = compose(name, PROFILES[name], {}, call, attempt=0)
            usage = Usage(reply.prompt_tokens, reply.completion_tokens, reply.reasoning_tokens)
            costs.append(prices[name].cost_usd(usage) or math.nan)
        assert costs[1] > costs[0]
