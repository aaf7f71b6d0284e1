"""Simulated backends speak the legacy completions API."""

from tests.support.simulated import client_of

PROMPT = "How many points has the yard at Crewe?"


async def test_a_completion_is_text_with_usage() -> None:
    async with client_of() as client:
        answer = await client.completions.create(model="m", prompt=PROMPT, n=2, logprobs=1)
    assert answer.object == "text_completion"
    assert answer.id.startswith("cmpl-")
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.choices[0].text
    assert answer.choices[0].logprobs is not None
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0


async def test_a_stream_gives_the_same_text_and_usage_where_it_is_asked_for() -> None:
    async with client_of() as client:
        stream = await client.completions.create(
            model="m", prompt=[PROMPT], stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        whole = await client.completions.create(model="m", prompt=PROMPT)
    text = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].text
    assert chunks[-1].usage is not None
    assert [chunk.choices[0].finish_reason for chunk in chunks[-2:-1]] == ["stop"]
