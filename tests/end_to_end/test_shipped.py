"""The shipped configuration shows every endpoint at work, with no key and no network."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.plane import Plane

SHIPPED = Path(__file__).resolve().parents[2] / "config.yaml"
SAID = [{"role": "user", "content": "How many points has the yard at Crewe?"}]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    text = SHIPPED.read_text("utf-8").replace("8080", "0").replace("8081", "0")
    with Plane(tmp_path_factory.mktemp("shipped"), text) as running:
        yield running


def test_chat_completions(plane: Plane) -> None:
    with plane.openai() as client:
        answer = client.chat.completions.create(model="auto", messages=SAID)
        assert answer.choices[0].message.content
        chunks = list(client.chat.completions.create(model="local", messages=SAID, stream=True))
        assert chunks[-1].choices[0].finish_reason == "stop"


def test_legacy_completions(plane: Plane) -> None:
    with plane.openai() as client:
        assert client.completions.create(model="local", prompt="One?").choices[0].text
        chunks = list(client.completions.create(model="local", prompt="One?", stream=True))
        assert chunks[-1].choices[0].finish_reason == "stop"


def test_responses_and_what_is_asked_of_them_later(plane: Plane) -> None:
    with plane.openai() as client:
        made = client.responses.create(model="local", input="One?")
        assert client.responses.retrieve(made.id).output_text == made.output_text
        items = client.responses.input_items.list(made.id)
        assert items.data[0].content[0].text == "One?"
        more = client.responses.create(model="local", input="Two?", previous_response_id=made.id)
        assert more.previous_response_id == made.id
        client.responses.delete(made.id)
        events = list(client.responses.create(model="local", input="Three?", stream=True))
        assert events[-1].type == "response.completed"


def test_embeddings(plane: Plane) -> None:
    with plane.openai() as client:
        data = client.embeddings.create(model="local", input=["one", "two"]).data
        assert data[0].embedding != data[1].embedding


def test_files(plane: Plane) -> None:
    with plane.openai() as client:
        made = client.files.create(file=("a.jsonl", b"{}\n"), purpose="batch")
        assert client.files.content(made.id).content == b"{}\n"
        assert client.files.delete(made.id).deleted


def test_messages_and_their_tokens(plane: Plane) -> None:
    said = {"model": "claude", "max_tokens": 50, "messages": SAID}
    with plane.client() as client:
        message = client.ask(said, path="/v1/messages").json
        assert message["content"][0]["text"]
        streamed = client.ask({**said, "stream": True}, path="/v1/messages")
        assert streamed.body.endswith(b'{"type":"message_stop"}\n\n')
        counted = client.ask(said, path="/v1/messages/count_tokens").json
        assert counted == {"input_tokens": message["usage"]["input_tokens"]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"model": "local", "messages": SAID}),
        ("/v1/completions", {"model": "local", "prompt": "One?"}),
        ("/v1/responses", {"model": "local", "input": "One?"}),
        ("/v1/embeddings", {"model": "local", "input": "One?"}),
        ("/v1/messages", {"model": "claude", "max_tokens": 9, "messages": SAID}),
    ],
)
def test_each_of_them_fails_on_request(plane: Plane, path: str, body: dict[str, object]) -> None:
    asked = {**body, "metadata": {"simulate": "status=404"}}
    with plane.client() as client:
        answer = client.ask(asked, path=path)
    assert answer.status == 404
    assert "Simulated failure" in json.loads(answer.body)["error"]["message"]
