"""Every case to every client, direct and through pointsman, side by side."""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.conformance import cases, environments, message_cases, response_cases, servers
from tests.conformance.cases import OUR_KEY, SAME, Case, Through
from tests.support.scripted import ScriptedUpstream, fin, request

RUN_S_MAX = 120.0
STAGGER_S = 0.03  # between cases: all at once would ask for more retries than the budget allows


@dataclass(frozen=True, slots=True)
class Client:
    """A library, the API it is used for, and the rows that are about that API."""

    name: str
    library: str
    api: str
    cases: Sequence[Case]
    healthy: Mapping[bool, bytes]
    """What a backend without fault answers, whole (False) and streamed (True)."""
    cut_code: str = "upstream_cut"
    heeds_should_retry: bool = True
    adapter: str = "openai"

    def __str__(self) -> str:
        return self.name


def _healthy(rows: Sequence[Case]) -> Mapping[bool, bytes]:
    """The answers of the two rows without a fault."""
    scripts = {case.name: case.scripts[0] for case in rows}
    whole, streamed = scripts["nothing"][1], scripts["stream"]
    assert isinstance(whole, bytes)
    return {False: whole, True: b"".join(step for step in streamed if isinstance(step, bytes))}


CHAT = (cases.CHAT_CASES, _healthy(cases.CHAT_CASES))
RESPONSES = (response_cases.RESPONSE_CASES, _healthy(response_cases.RESPONSE_CASES))
MESSAGES = (message_cases.MESSAGE_CASES, _healthy(message_cases.MESSAGE_CASES))
CLIENTS = (
    Client("openai-python", "openai", "chat", *CHAT),
    Client("openai-node", "openai_node.mjs", "chat", *CHAT),
    Client("vercel", "vercel.mjs", "chat", *CHAT, heeds_should_retry=False),
    Client("anthropic-python", "anthropic", "messages", *MESSAGES,
           cut_code="api_error", adapter="anthropic"),
    Client("openai-python, responses", "openai", "responses", *RESPONSES),
    Client("openai-node, responses", "openai_node.mjs", "responses", *RESPONSES),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """What a program that uses the client library gets to see."""

    ended: str
    text: str
    finish: str | None
    attempts: int
    """HTTP requests the library made."""
    error: str | None = None
    status: int | None = None
    code: str | None = None

    def __str__(self) -> str:
        how = f"ok {self.text!r} {self.finish}"
        if self.ended == "error":
            parts = (self.error, self.status, self.code, repr(self.text) if self.text else None)
            how = " ".join(str(part) for part in parts if part is not None)
        return f"{how} x{self.attempts}"


Results = Mapping[str, Seen]
"""By a case's name."""


def words_for(client: Client) -> list[str]:
    """The program that asks. Raises environments.Unavailable."""
    if client.library.endswith(".mjs"):
        return [environments.node(), str(environments.npm_script(client.library))]
    script = environments.HERE / "clients" / f"{client.library}_python.py"
    return [environments.python(client.library), str(script)]


def ask_all(client: Client, url_of: Mapping[str, str], model_of: Mapping[str, str]) -> Results:
    """One process, all cases: what a client library sees of each, by the case's name."""
    asked = [
        {
            "name": case.name,
            "api": client.api,
            "model": model_of[case.name],
            "stream": case.stream,
            "base_url": url_of[case.name],
            "after_s": index * STAGGER_S,
        }
        for index, case in enumerate(client.cases)
    ]
    with ScriptedUpstream([request, client.healthy[False], fin]) as healthy:
        warm_up = {**asked[0], "name": "warm-up", "stream": False, "base_url": healthy.base_url}
        return _run(client, [warm_up, *asked])


def _run(client: Client, asked: list[dict[str, object]]) -> Results:
    done = subprocess.run(
        words_for(client),
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=RUN_S_MAX,
        check=False,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {fields["name"]: _seen(fields) for fields in lines}


def _seen(fields: dict[str, object]) -> Seen:
    names = ("ended", "text", "finish", "attempts", "error", "status", "code")
    seen = Seen(**{name: fields.get(name) for name in names})  # type: ignore[arg-type]
    return seen if seen.ended == "ok" else replace(seen, finish=None)


def name_of(case: Case) -> str:
    """A backend's name for a case."""
    return "case-" + re.sub(r"[^a-z0-9]+", "-", case.name.lower()).strip("-")


@contextmanager
def upstreams(client: Client) -> Iterator[dict[str, ScriptedUpstream]]:
    """One scripted server a case."""
    with ExitStack() as stack:
        yield {c.name: stack.enter_context(ScriptedUpstream(*c.scripts)) for c in client.cases}


def run_direct(client: Client) -> Results:
    """Straight to the upstream."""
    with upstreams(client) as servers_of:
        urls = {name: one.base_url for name, one in servers_of.items()}
        return ask_all(client, urls, {case.name: name_of(case) for case in client.cases})


def run_through(client: Client, directory: Path, *, has_healthy: bool = False) -> Results:
    """The same upstreams, each a backend of one pointsman; perhaps a healthy one behind each."""
    with ExitStack() as stack:
        servers_of = stack.enter_context(upstreams(client))
        urls = {name_of(case): servers_of[case.name].base_url for case in client.cases}
        for is_streamed, answer in client.healthy.items():
            healthy = stack.enter_context(ScriptedUpstream([request, answer, fin]))
            urls[f"healthy-{is_streamed}"] = healthy.base_url
        text = _config(client, urls, has_healthy=has_healthy)
        served = stack.enter_context(servers.pointsman(directory, text))
        url_of = {case.name: f"http://{served.listen}/v1" for case in client.cases}
        models = {case.name: f"route-{name_of(case)}" for case in client.cases}
        return ask_all(client, url_of, models)


def _config(client: Client, urls: Mapping[str, str], *, has_healthy: bool) -> str:
    lines = [
        f'  {name}: {{adapter: {client.adapter}, base_url: "{url}"}}' for name, url in urls.items()
    ]
    lines.append("routes:")
    for case in client.cases:
        behind = f", on_failure: [healthy-{case.stream}]" if has_healthy else ""
        lines.append(f"  route-{name_of(case)}: {{candidates: [{name_of(case)}]{behind}}}")
    lines.append("  default: {candidates: [healthy-False]}")
    return "\n".join(["backends:", *lines, ""])


# -- judging ---------------------------------------------------------------------------------


def fault_of(client: Client, case: Case, direct: Seen, through: Seen) -> str | None:
    """What is not as the case says, if anything."""
    wanted = case.through
    heeds = client.heeds_should_retry
    if wanted.kind in ("same", "fewer", "answered"):
        may_differ = wanted.kind == "answered" or (wanted.kind == "fewer" and heeds)
        expected = replace(direct, attempts=1) if may_differ else direct
        is_right = through == expected and (wanted.kind != "answered" or through.ended == "ok")
        return None if is_right else f"is not {expected}"
    if through.ended != "error":
        return "is no error"
    if wanted.kind == "cut":
        is_told = through.code == client.cut_code and through.text == direct.text
        return None if is_told else "does not tell that the stream was cut"
    if (through.status, through.code) != (wanted.status, _code_of(client, wanted)):
        return f"is not {wanted.status} {wanted.code}"
    return "was tried again" if heeds and through.attempts != 1 else None


def fault_behind(client: Client, case: Case, through: Seen, behind: Seen) -> str | None:
    """What is not as it must be where a healthy backend stands behind the faulty one."""
    if case.through is OUR_KEY:  # no other backend is asked, but the next time this one is not
        is_right = behind == through or behind.ended == "ok"
        return None if is_right else f"is neither {through} nor an answer"
    is_stopped = case.through is SAME and not case.name.startswith("429")
    if is_stopped or case.through.kind == "cut":
        return None if behind == through else f"is not {through}"
    is_right = (behind.ended, behind.text, behind.attempts) == ("ok", "hello", 1)
    return None if is_right else "is no answer at the first try"


def _code_of(client: Client, wanted: Through) -> str | None:
    """Anthropic's errors have a type and no code."""
    return client.cut_code if client.api == "messages" else wanted.code
