"""The official client on every OpenAI API, through a served proxy; then what is kept of it."""

import base64
import json
import re
import struct
from pathlib import Path

from openai import OpenAI

from tests.adapters.test_responses_reader import BEGUN, DELTA, ENDED, WHOLE
from tests.support.command import all_captures, command
from tests.support.plane import config
from tests.support.scripted import (
    LAST_CHUNK,
    ScriptedUpstream,
    answering,
    chunk,
    chunked_head,
    response,
)
from tests.support.served import Served

TOP = 'passthrough: [{path: "/v1/files*", backend: a}, {path: /v1/moderations, backend: a}]'
VECTOR = base64.b64encode(struct.pack("<2f", 0.5, -1.0)).decode()
STREAM = chunked_head() + b"".join(map(chunk, (BEGUN, DELTA, ENDED))) + LAST_CHUNK
ANSWERS = {
    "POST /v1/completions": response(
        b'{"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":'
        b'[{"text":" more","index":0,"logprobs":null,"finish_reason":"stop"}],'
        b'"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
    ),
    "POST /v1/responses": response(json.dumps(WHOLE).encode()),
    "GET /v1/responses/resp_1": response(json.dumps(WHOLE).encode()),
    "POST /v1/embeddings": response(
        b'{"object":"list","model":"m","data":[{"object":"embedding","index":0,"embedding":"%b"}],'
        b'"usage":{"prompt_tokens":2,"total_tokens":2}}' % VECTOR.encode()
    ),
    "POST /v1/moderations": response(b'{"id":"modr-1","model":"m","results":[]}'),
    "POST /v1/files": response(
        b'{"id":"file-1","object":"file","filename":"a.txt","bytes":3,"purpose":"batch"}'
    ),
    "GET /v1/files/file-1/content": response(b"abc", content_type="application/octet-stream"),
}


def said(asked: bytes) -> bytes:
    """The answer to a request."""
    if b'"stream":true' in asked:
        return STREAM
    return ANSWERS[" ".join(asked.decode("latin-1").split(" ", 2)[:2])]


def use_all(client: OpenAI) -> None:
    """One call of each."""
    completion = client.completions.create(model="auto", prompt="Once")
    assert completion.choices[0].text == " more"
    made = client.responses.create(model="auto", input="hi")
    assert made.output_text == "hello"
    events = list(client.responses.create(model="auto", input="hi", stream=True))
    assert [event.type for event in events][::2] == ["response.created", "response.completed"]
    assert client.responses.retrieve(made.id).id == made.id
    vectors = client.embeddings.create(model="auto", input="x")
    assert vectors.data[0].embedding == [0.5, -1.0]
    assert client.moderations.create(input="x").id == "modr-1"
    file = client.files.create(file=("a.txt", b"abc"), purpose="batch")
    assert client.files.content(file.id).read() == b"abc"


def test_the_official_client_on_every_api_and_what_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    with ScriptedUpstream([answering(said)]) as upstream:
        file.write_text(config("  default: {candidates: [a]}", top=TOP, a=upstream.base_url))
        with Served(file) as server:
            client = OpenAI(base_url=f"http://{server.listen}/v1", api_key="x", max_retries=0)
            use_all(client)
            client.close()
    kept = all_captures(file)
    assert [(one["api"], one["status"]) for one in kept] == [
        ("completions", "ok"),
        ("responses", "ok"),
        ("responses", "ok"),
        ("responses", "ok"),
        ("embeddings", "ok"),
        ("passthrough", "ok"),
        ("passthrough", "ok"),
        ("passthrough", "ok"),
    ]
    assert [one["prompt_tokens"] for one in kept] == [1, 30, 30, None, 2, None, None, None]
    assert all(one["request_sha256"] and one["response_sha256"] for one in kept)
    assert_not_exported(file, tmp_path / "out.jsonl")
    spent = command("spend", config=file)
    assert (spent.code, spent.errors) == (0, "")


def assert_not_exported(config_file: Path, output: Path) -> None:
    """No row of chat can be made of these, and the command says why."""
    words = ("export", "--format", "openai-chat", "--output", str(output))
    exported = command(*words, config=config_file)
    assert exported.code == 0, exported.errors
    assert output.read_bytes() == b""
    assert re.search(r"not_chat +8\b", exported.output), exported.output
