"""Alarms: told, counted, shown, and posted without being in anybody's way."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from pointsman.decoding import Findings
from pointsman.document import MapNode, parse
from pointsman.secret import Secret
from proxy.alarms import QUEUE_MAX, SHOWN_MAX, TRIES, Alarming, Alarms, load_alarms


def load(text: str, **environment: str) -> tuple[Alarming, list[str]]:
    root = parse(f"alarms: {text}", "c.yaml")
    assert isinstance(root, MapNode)
    findings = Findings()
    found = load_alarms(
        root.items["alarms"], findings=findings, directory=Path(), environment=environment
    )
    return found, [str(problem) for problem in (*findings.errors, *findings.warnings)]


def test_a_webhook_is_an_address_or_a_secret_one() -> None:
    found, problems = load("{webhook: 'https://hooks.example/x', token: {env: T}}", T="hush")
    assert problems == []
    assert found.webhook is not None
    assert found.token is not None
    assert (found.webhook.reveal(), found.token.reveal()) == ("https://hooks.example/x", "hush")
    found, problems = load("{webhook: {env: HOOK}}", HOOK="https://hooks.example/secret")
    assert found.webhook is not None
    assert "secret" not in repr(found)
    assert load_alarms(None, findings=Findings(), directory=Path(), environment={}) == Alarming()


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "{webhook: ftp://h/x}",
        "{webhook: 'file:///etc/passwd'}",
        "{webhook: 'http://user:pw@h/x'}",
        "{webhook: 'http://h:99999/'}",
        "{webhook: 'http:///x'}",
        "{webhook: 'http://h/x', token: literal}",
        "{webhook: 'http://h/x', other: 1}",
    ],
)
def test_what_is_no_webhook_is_refused(text: str) -> None:
    assert load(text)[1]


async def test_without_a_webhook_alarms_are_shown_and_counted() -> None:
    alarms = Alarms(Alarming)
    for number in range(SHOWN_MAX + 3):
        alarms.give("promise_broken", "extract", f"reason {number}")
    assert [one.reason for one in alarms.state()][-1] == f"reason {SHOWN_MAX + 2}"
    assert len(alarms.state()) == SHOWN_MAX
    key = ("pointsman_alarms_total", (("alarm", "promise_broken"),))
    assert alarms.counters() == {key: SHOWN_MAX + 3}


async def test_a_queue_that_is_full_loses_the_alarm_and_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    alarms = Alarms(lambda: Alarming(Secret("http://127.0.0.1:1/", "test")))
    for _ in range(QUEUE_MAX + 2):
        alarms.give("canary_rolled_back", "extract", "worse")
    assert alarms.posts == {"lost": 2}
    assert "webhook_failed" in capsys.readouterr().err


class Hook:
    """Answers posts with these statuses, the last one for ever."""

    def __init__(self, *statuses: int) -> None:
        self._statuses = list(statuses)
        self.posts: list[str] = []

    async def answer(self, request: web.BaseRequest) -> web.Response:
        said = (await request.json())["alarm"] if request.method == "POST" else "nothing"
        self.posts.append(f"{request.path} {said}")
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        headers = {"location": "/elsewhere"} if status == 302 else {}
        return web.Response(status=status, headers=headers)


async def deliver(hook: Hook) -> Alarms:
    """One alarm posted until it is delivered or lost."""
    server = web.Server(hook.answer)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    alarming = Alarming(Secret(f"http://127.0.0.1:{port}/hook", "test"))
    alarms = Alarms(lambda: alarming, wait_first_s=0.001)
    alarms.give("promise_broken", "extract", "refuted")
    task = asyncio.ensure_future(alarms.run())
    async with asyncio.timeout(10):
        while not alarms.posts:  # noqa: ASYNC110 (a counter has no event)
            await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.wait([task])
    listener.close()
    await server.shutdown(0.1)
    return alarms


@pytest.mark.parametrize(
    ("statuses", "posts", "outcome"),
    [
        ((204,), 1, "delivered"),
        ((500, 200), 2, "delivered"),
        ((503,), TRIES, "lost"),
        ((302,), TRIES, "lost"),  # a redirect is not followed
    ],
)
async def test_posts_are_tried_again_and_never_redirected(
    statuses: tuple[int, ...], posts: int, outcome: str
) -> None:
    hook = Hook(*statuses)
    alarms = await deliver(hook)
    assert alarms.posts == {outcome: 1}
    assert hook.posts == ["/hook promise_broken"] * posts


async def test_nobody_there_is_told_without_the_address(capsys: pytest.CaptureFixture[str]) -> None:
    alarms = Alarms(
        lambda: Alarming(Secret("http://127.0.0.1:1/secret-path", "test")), wait_first_s=0.001
    )
    alarms.give("promise_broken", "extract", "refuted")
    task = asyncio.ensure_future(alarms.run())
    async with asyncio.timeout(10):
        while not alarms.posts:  # noqa: ASYNC110 (a counter has no event)
            await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.wait([task])
    told = capsys.readouterr().err
    assert "webhook_failed" in told
    assert "secret-path" not in told
