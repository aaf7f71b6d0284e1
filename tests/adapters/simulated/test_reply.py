"""What is answered: known answers, errors, logprobs, tokens, pace."""

import asyncio
import json
import math
import time
from pathlib import Path

import pytest

from adapters.simulated.call import Call
from adapters.simulated.profile import PROFILES
from adapters.simulated.reply import Reply, compose
from tests.support.simulated import (
    ASK,
    ask,
    client_of,
)


async def test_max_tokens_ends_an_answer_early() -> None:
    async with client_of() as client:
        answer = await client.chat.completions.create(model="m", messages=ASK, max_tokens=3)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


async def test_a_reasoning_model_can_think_all_its_tokens_away() -> None:
    async with client_of("{like: o3-mini, speed: instant}") as client:
        answer = await client.chat.completions.create(
            model="m", messages=ASK, max_completion_tokens=100
        )
    usage = answer.usage
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.content == ""
    assert usage is not None
    assert usage.completion_tokens == 100
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == 100


async def test_a_known_answer_is_given_and_sometimes_wrongly(tmp_path: Path) -> None:
    questions = [f"What is the sum of {i} and {i + 1}?" for i in range(200)]
    rows = [
        {"prompt": question, "answer": f"The sum is {2 * i + 1}."}
        for i, question in enumerate(questions)
    ]
    (tmp_path / "answers.jsonl").write_text("\n".join(map(json.dumps, rows)))
    profile = "{speed: instant, error_rate: 11%, answers: answers.jsonl}"
    async with client_of(profile, directory=tmp_path) as client:
        given = await asyncio.gather(*(ask(client, question) for question in questions))
    wrong = [
        (row["answer"], text)
        for row, text in zip(rows, given, strict=True)
        if text != row["answer"]
    ]
    assert 6 <= len(wrong) <= 42  # binomial(200, 0.11): outside in fewer than 1 of 1,000 seeds
    assert all(text.startswith("The sum is ") for _, text in wrong)


async def test_sureness_tells_right_from_wrong_answers(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        "\n".join(json.dumps({"prompt": f"{i}?", "answer": str(1000 + i)}) for i in range(300))
    )
    profile = "{like: local, speed: instant, error_rate: 50%, answers: a.jsonl}"
    async with client_of(profile, directory=tmp_path) as client:
        answers = await asyncio.gather(
            *(
                client.chat.completions.create(
                    model="m", messages=[{"role": "user", "content": f"{i}?"}], logprobs=True
                )
                for i in range(300)
            )
        )
    scores: dict[bool, list[float]] = {True: [], False: []}
    for i, answer in enumerate(answers):
        tokens = answer.choices[0].logprobs.content  # type: ignore[union-attr]
        mean = sum(token.logprob for token in tokens or []) / len(tokens or [1])
        scores[answer.choices[0].message.content == str(1000 + i)].append(math.exp(mean))
    pairs = [right > wrong for right in scores[True] for wrong in scores[False]]
    ranked_well = sum(pairs) / len(pairs)
    assert 0.80 < ranked_well < 0.999  # informative, not an oracle


async def test_runs_are_repeatable_and_tries_differ(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "q", "answer": "12345"}\n')
    profile = "{speed: instant, error_rate: 50%, answers: a.jsonl}"
    runs = []
    for _ in range(2):
        async with client_of(profile, directory=tmp_path) as client:
            runs.append([await ask(client, "q") for _ in range(20)])
    assert runs[0] == runs[1]
    assert len(set(runs[0])) > 1


def test_everything_about_a_reply_is_repeatable() -> None:
    def replies() -> list[Reply]:
        call = Call("m", "q", 40, choices=2)
        return [compose("b", PROFILES["o3-mini"], {}, call, attempt=i) for i in range(3)]

    assert replies() == replies()
    assert len({(reply.id, reply.reasoning_tokens, reply.token_s) for reply in replies()}) == 3


async def test_the_right_answer_never_comes_from_the_request() -> None:
    async with client_of() as client:
        answer = await client.chat.completions.create(
            model="m", messages=ASK, metadata={"answer": "12 points", "simulate": "answer=right"}
        )
    assert "12 points" not in (answer.choices[0].message.content or "")


@pytest.mark.parametrize(
    ("profile", "low_s", "high_s"),
    [("gpt-4", 0.02, 0.5), ("{like: local}", 0.0, 0.15)],
)
async def test_takes_its_time(profile: str, low_s: float, high_s: float) -> None:
    fast = f"{{like: {profile.strip('{}').removeprefix('like: ')}, speed: 10}}"
    async with client_of(fast) as client:
        await client.models.list()
        started = time.monotonic()
        for _ in range(3):
            await ask(client, "How long does it take?")
        took_s = (time.monotonic() - started) / 3
    assert low_s < took_s < high_s
