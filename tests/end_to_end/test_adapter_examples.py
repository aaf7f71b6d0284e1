"""Every example of docs/adapters.md serves, with a scripted server where its address stands."""

import re
from pathlib import Path

import pytest

from tests.support.papers import Block, blocks
from tests.support.plane import ASKED, Plane, whole_answer
from tests.support.scripted import ScriptedUpstream, request, response, until_closed

PAPER = Path(__file__).resolve().parents[2] / "docs" / "adapters.md"
KEYS = dict.fromkeys(("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "ANTHROPIC_API_KEY"), "k-1")
MESSAGE = b'{"type":"message","id":"msg_1","content":[],"stop_reason":"end_turn"}'
EXAMPLES = blocks(PAPER, "yaml")


def at(url: str, text: str) -> str:
    """The example with its servers at `url`."""
    text = re.sub(r"base_url: [^,}\s]+", f"base_url: {url}", text)
    return re.sub(
        r"^( +)adapter: anthropic$", rf"\g<0>\n\1base_url: {url}", text, flags=re.MULTILINE
    )


def test_there_is_one_for_each_kind() -> None:
    shown = {kind for one in EXAMPLES for kind in re.findall(r"adapter: (\w+)", one.text)}
    assert shown == {"openai", "azure", "anthropic", "simulated", "simulated_anthropic"}


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_the_example_serves(tmp_path: Path, example: Block) -> None:
    speaks_anthropic = "adapter: anthropic" in example.text
    answer = response(MESSAGE) if speaks_anthropic else whole_answer()
    with (
        ScriptedUpstream([request, answer, until_closed]) as upstream,
        Plane(tmp_path, at(upstream.base_url, example.text), environment=KEYS) as plane,
        plane.client() as client,
    ):
        if speaks_anthropic:
            said = client.ask({**ASKED, "max_tokens": 9}, path="/v1/messages")
        else:
            said = client.ask(ASKED)
        assert said.status == 200, said.body
        for sent in upstream.requests:
            assert (b": k-1\r\n" in sent or b"Bearer k-1" in sent) == ("api_key" in example.text)
