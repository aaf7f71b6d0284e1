"""An admin listener in the test's own loop, with a real hub, fold and reloader behind it."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from proxy.active import Active
from proxy.admin import AdminListener
from proxy.alarms import Alarms
from proxy.folding import Folding
from proxy.handover import Handover, prepare
from proxy.hub import Hub
from proxy.listening import Address
from proxy.reloading import Reloader, build_current, keys_text_of
from proxy.shutdowns import ModelWatch
from proxy.trials import TrialKeeper
from tests.support.simple_config import SIMPLE, write_config

SECRET = "hush-canary"


class Running:
    """What a test holds of it."""

    def __init__(self, admin: AdminListener, handover: Handover, config: Path) -> None:
        self.admin = admin
        self.address = handover.admin_address
        self.handover = handover
        self.config = config

    async def ask(
        self, path: str, method: str = "GET", headers: Mapping[str, str] = {}
    ) -> tuple[int, Mapping[str, str], Any]:
        """Status, headers and decoded body of one request."""
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"http://{self.address}{path}", headers=headers) as answer,
        ):
            body = await answer.read()
            is_json = answer.content_type == "application/json"
            return answer.status, answer.headers, json.loads(body) if is_json and body else body

    async def send(self, raw: bytes) -> bytes:
        """Whatever comes back for some bytes, until the connection ends."""
        reader, writer = await asyncio.open_connection(self.address.host, self.address.port)
        writer.write(raw)
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        return answer


@asynccontextmanager
async def running(directory: Path, text: str = SIMPLE) -> AsyncIterator[Running]:
    """Start everything over `config.yaml` with this text; ADMIN_TOKEN is SECRET."""
    config = write_config(directory, text)
    data = directory / "data"
    data.mkdir(exist_ok=True)
    anywhere = Address("127.0.0.1", 0)
    handover = prepare(data, listen=anywhere, admin=anywhere, workers=1)
    environment = {"ADMIN_TOKEN": SECRET}
    configuration = build_current(Active(0, str(config), text), environment).configuration
    active = Active(0, str(config), text, keys_text_of(configuration))
    hub = Hub(generation=0, on_trouble=lambda message: None)
    folding = Folding(data, keep_s=None, share=hub.share_learned)
    reloader = Reloader(
        build_current(active, environment),
        spread=lambda generation: hub.reload(generation, timeout_s=5),
        on_change=lambda old, new: None,
        environment=environment,
    )
    models = ModelWatch(lambda: reloader.current.configuration)
    alarms = Alarms(lambda: reloader.current.configuration.alarms)
    trials = TrialKeeper(data, configuration, order=hub.order, alarms=alarms, note=folding.note)
    admin = AdminListener(
        handover=handover,
        hub=hub,
        folding=folding,
        reloader=reloader,
        models=models,
        trials=trials,
        alarms=alarms,
    )
    await hub.listen(handover.control_socket)
    await folding.open()
    await trials.open()
    await admin.listen(handover.admin_socket)
    fold = asyncio.get_running_loop().create_task(folding.run())
    try:
        yield Running(admin, handover, config)
    finally:
        fold.cancel()
        await asyncio.wait([fold])
        await folding.finish(5)
        await admin.close()
        hub.close()
        handover.close()
