"""Every case to every client, direct and through pointsman, side by side."""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.conformance import environments, servers
from tests.conformance.cases import CHAT_CASES, MESSAGE_CASES, Case, Through
from tests.support.scripted import ScriptedUpstream

RUN_S_MAX = 120.0
STAGGER_S = 0.03  # between cases: all at once would ask for more retries than the budget allows
CLIENTS = ("openai-python", "openai-node", "vercel", "anthropic-python")


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


def words_for(client: str) -> list[str]:
    """The program that asks. Raises environments.Unavailable."""
    folder = environments.HERE / "clients"
    if client in ("openai-node", "vercel"):
        return [environments.node(), str(environments.npm_script(f"{client}.mjs"))]
    name = client.removesuffix("-python")
    return [environments.python(name), str(folder / f"{client.replace('-', '_')}.py")]


def ask_all(client: str, cases: Sequence[Case], url_of: dict[str, str]) -> dict[str, Seen]:
    """One process, all cases at once: what a client library sees of each."""
    asked = [
        {"name": case.name, "model": model_of(case), "stream": case.stream,
         "base_url": url_of[case.name], "after_s": index * STAGGER_S}
        for index, case in enumerate(cases)
    ]  # fmt: skip
    done = subprocess.run(
        words_for(client), input=json.dumps(asked), capture_output=True, text=True,
        timeout=RUN_S_MAX, check=False, env={**os.environ, "NO_PROXY": "127.0.0.1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            fields = json.loads(line)
            fields.pop("total_s")
            name = fields.pop("name")
            if fields["ended"] == "error":
                fields["finish"] = None  # one library writes "error" there, sometimes
            found[name] = Seen(**fields)
    return found


def model_of(case: Case) -> str:
    """A backend's name for a case."""
    return "case-" + re.sub(r"[^a-z0-9]+", "-", case.name.lower()).strip("-")


@contextmanager
def upstreams(cases: Sequence[Case]) -> Iterator[dict[str, ScriptedUpstream]]:
    """One scripted server a case."""
    with ExitStack() as stack:
        yield {c.name: stack.enter_context(ScriptedUpstream(*c.scripts)) for c in cases}


def cases_for(client: str) -> Sequence[Case]:
    """The rows for the protocol a client speaks."""
    return MESSAGE_CASES if client.startswith("anthropic") else CHAT_CASES


def run_direct(client: str) -> dict[str, Seen]:
    """Straight to the upstream."""
    cases = cases_for(client)
    with upstreams(cases) as servers_of:
        return ask_all(client, cases, {name: one.base_url for name, one in servers_of.items()})


def run_through(client: str, directory: Path) -> dict[str, Seen]:
    """The same upstreams, each a backend of one pointsman."""
    cases = cases_for(client)
    adapter = "anthropic" if client.startswith("anthropic") else "openai"
    with upstreams(cases) as servers_of:
        lines = [
            f"  {model_of(case)}: {{adapter: {adapter}, "
            f'base_url: "{servers_of[case.name].base_url}"}}\n'
            for case in cases
        ]
        first = model_of(cases[0])
        text = f"backends:\n{''.join(lines)}routes:\n  default: {{candidates: [{first}]}}\n"
        with servers.pointsman(directory, text) as served:
            url = f"http://{served.listen}/v1"
            return ask_all(client, cases, {case.name: url for case in cases})


def fault_of(client: str, case: Case, direct: Seen, through: Seen) -> str | None:
    """What is not as the case says, if anything."""
    wanted = case.through
    heeds = client != "vercel"  # x-should-retry
    if wanted.kind == "same":
        return None if through == direct else "differs"
    if wanted.kind == "fewer":
        expected = replace(direct, attempts=1) if heeds else direct
        return None if through == expected else f"is not {expected}"
    if wanted.kind == "answered":
        expected = replace(direct, attempts=1)
        return None if through == expected and through.ended == "ok" else f"is not {expected}"
    if through.ended != "error":
        return "is no error"
    if wanted.kind == "cut":
        is_told = through.code == CUT_CODES[client] and through.text == direct.text
        return None if is_told else "does not tell that the stream was cut"
    if (through.status, through.code) != (wanted.status, code_of(client, wanted)):
        return f"is not {wanted.status} {wanted.code}"
    return "was tried again" if heeds and through.attempts != 1 else None


CUT_CODES = dict.fromkeys(CLIENTS, "upstream_cut") | {"anthropic-python": "api_error"}


def code_of(client: str, wanted: Through) -> str | None:
    """Anthropic's errors have a type and no code."""
    return "api_error" if client.startswith("anthropic") else wanted.code
