"""The servers start, answer, and say where they listen."""

import json
import urllib.request
from pathlib import Path

import pytest

from benchmarks import servers
from benchmarks.load import LoadGenerator, Scenario
from benchmarks.programs import Programs, installed_nginx


def test_the_upstream_answers_a_whole_chat_completion(upstream: servers.Server) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{upstream.port}/v1/chat/completions",
        data=json.dumps({"messages": "bench-0000000042-00000-0000000"}).encode(),
    )
    with urllib.request.urlopen(request, timeout=5) as response:
        raw = response.read()
    body = json.loads(raw)
    assert len(raw) == 1024
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["choices"][0]["message"]["content"].startswith("Answer 0000000042:")
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_the_upstream_lists_its_model(upstream: servers.Server) -> None:
    with urllib.request.urlopen(
        f"http://127.0.0.1:{upstream.port}/v1/models", timeout=5
    ) as response:
        assert json.load(response)["data"][0]["id"] == "bench-1"


def test_the_upstream_knows_no_other_path(upstream: servers.Server) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404") as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{upstream.port}/v1/other", timeout=5)
    refused.value.close()


def test_nginx_passes_answers_and_streams(
    generator: LoadGenerator, upstream: servers.Server, tmp_path: Path
) -> None:
    binary = installed_nginx()
    if binary is None:
        pytest.skip("nginx is not installed (`make bench` would fetch it)")
    with servers.nginx(binary, upstream_port=upstream.port, directory=tmp_path, core=None) as nginx:
        whole = generator.run(Scenario("closed", "", 200, connections=8), port=nginx.port)
        streamed = generator.run(
            Scenario("stream", "", 50, connections=8, chunks=10, interval_us=500),
            port=nginx.stream_port,
        )
    assert (whole.right, streamed.right) == (200, 50)


def test_a_pointsman_that_does_not_start_is_reported(programs: Programs, tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match=r"no line 'pointsman ready'"),
        servers.pointsman(
            Path("/bin/false"), upstream_port=1, directory=tmp_path / "data", core=None
        ),
    ):
        pass


def test_the_port_is_read_from_the_ready_line() -> None:
    line = "pointsman ready listen=http://127.0.0.1:8080 admin=http://127.0.0.1:8081 workers=2"
    assert servers.port_in_ready_line(line) == 8080
    with pytest.raises(RuntimeError, match="no port"):
        servers.port_in_ready_line("pointsman ready")
