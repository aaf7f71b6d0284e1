"""Alarms: what an operator must hear of, in the log, the metrics, `/state`, and by webhook.

    alarms: {webhook: https://hooks.example/pointsman, token: {env: HOOK_TOKEN}}

The webhook is in nobody's way: alarms wait in a short queue for one task, each is posted up to
TRIES times within POST_S, and what cannot be delivered is logged and counted. Only the operator's
file names the address; a redirect is not followed, nothing of the answer is read, and proxies of
the environment are not used, so nobody else can make this process call where it should not.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from pointsman.decoding import Findings, Section
from pointsman.document import Node, ScalarNode
from pointsman.secret import Secret, decode_secret
from telemetry.logs import log
from telemetry.metrics import Counters

QUEUE_MAX: Final = 64
SHOWN_MAX: Final = 20
"""The newest, in `/state`; the log and the store's events have them all."""
POST_S: Final = 5.0
TRIES: Final = 4
WAIT_FIRST_S: Final = 1.0
WAIT_GROWTH: Final = 4.0

AlarmKind = Literal["promise_broken", "canary_rolled_back"]


@dataclass(frozen=True, slots=True)
class Alarming:
    """`alarms:` of the configuration. Without a webhook alarms are logged, counted and shown."""

    webhook: Secret | None = None
    token: Secret | None = None


def load_alarms(
    node: Node | None, *, findings: Findings, directory: Path, environment: Mapping[str, str]
) -> Alarming:
    """`{webhook: URL, token: {env: NAME}}`; a URL that is secret itself is `{env: NAME}` too."""
    if node is None:
        return Alarming()
    section = Section(node, findings, "alarms")
    section.require("webhook")
    found: dict[str, Secret | None] = {"webhook": None, "token": None}
    for key in found:
        value = section.node(key)
        if key == "webhook" and isinstance(value, ScalarNode):
            found[key] = Secret(value.text, "the configuration")
        elif value is not None:
            found[key] = decode_secret(
                value,
                f"the {key} of alarms",
                findings=findings,
                directory=directory,
                environment=environment,
            )
    section.done()
    webhook = found["webhook"]
    if webhook is not None and not _is_url(webhook.reveal()):
        findings.error(section.at_key("webhook"), "webhook: needs http://HOST/... or https://")
    return Alarming(webhook, found["token"])


def _is_url(text: str) -> bool:
    """Of http or https, with a host and no user in it."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # reading it checks it
    except ValueError:
        return False
    is_plain = text.isascii() and text.isprintable() and " " not in text
    return (
        is_plain
        and parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and not parts.username
    )


class Alarm(msgspec.Struct, frozen=True):
    """What is posted: the same words as in the log."""

    alarm: AlarmKind
    route: str
    reason: str
    ts: float
    """Seconds since the epoch."""


@dataclass(slots=True)
class Alarms:
    """The keeper's alarms. `run` posts them, for ever; `alarming` tells where to."""

    alarming: Callable[[], Alarming]
    counts: Counter[AlarmKind] = field(default_factory=Counter)
    posts: Counter[str] = field(default_factory=Counter)
    wait_first_s: float = WAIT_FIRST_S
    _shown: deque[Alarm] = field(default_factory=lambda: deque(maxlen=SHOWN_MAX))
    _waiting: asyncio.Queue[Alarm] = field(default_factory=lambda: asyncio.Queue(QUEUE_MAX))

    def give(self, kind: AlarmKind, route: str, reason: str) -> None:
        """Raise one. Does not wait."""
        alarm = Alarm(kind, route, reason, round(time.time(), 3))
        log("alarm", level="error", alarm=kind, route=route, reason=reason)
        self.counts[kind] += 1
        self._shown.append(alarm)
        if self.alarming().webhook is None:
            return
        try:
            self._waiting.put_nowait(alarm)
        except asyncio.QueueFull:
            self._lose(alarm, "too many wait")

    def state(self) -> list[Alarm]:
        """The latest ones, oldest first."""
        return list(self._shown)

    def counters(self) -> Counters:
        """How many there were, and what became of the posts."""
        found: Counters = {
            ("pointsman_alarms_total", (("alarm", kind),)): float(count)
            for kind, count in self.counts.items()
        }
        for outcome, count in self.posts.items():
            found["pointsman_webhook_posts_total", (("outcome", outcome),)] = float(count)
        return found

    async def run(self) -> None:
        """Post what waits, one after the other."""
        while True:
            alarm = await self._waiting.get()
            try:
                await self._deliver(alarm)
            except Exception as error:  # noqa: BLE001 (boundary: the next alarm must go out)
                self._lose(alarm, f"{type(error).__name__}: {error}")

    async def _deliver(self, alarm: Alarm) -> None:
        said = ""
        for number in range(TRIES):
            if number:
                await asyncio.sleep(self.wait_first_s * WAIT_GROWTH ** (number - 1))
            alarming = self.alarming()
            if alarming.webhook is None:
                return
            said = await _post(alarming.webhook.reveal(), alarming.token, alarm)
            if not said:
                self.posts["delivered"] += 1
                return
        self._lose(alarm, said)

    def _lose(self, alarm: Alarm, why: str) -> None:
        self.posts["lost"] += 1
        log("webhook_failed", level="error", alarm=alarm.alarm, route=alarm.route, error=why)


async def _post(url: str, token: Secret | None, alarm: Alarm) -> str:
    """Why it did not arrive; empty where it did."""
    import aiohttp  # only a keeper with an alarm needs its client

    headers = {"content-type": "application/json", "user-agent": "pointsman"}
    if token is not None:
        headers["authorization"] = f"Bearer {token.reveal()}"
    timeout = aiohttp.ClientTimeout(total=POST_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
            session.post(
                url, data=msgspec.json.encode(alarm), headers=headers, allow_redirects=False
            ) as answer,
        ):
            return "" if 200 <= answer.status < 300 else f"status {answer.status}"
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return type(error).__name__  # its text may hold the address
