"""A worker's wiring: its share of the limits, reloads, TLS, keys that cannot be used."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

from policies.fitted import NOTHING_FITTED, Fitted
from policies.fitted_store import fitted_bytes, read_fitted
from policies.learned import Learned
from policies.text_model import Head, TextModel, pack_grams
from proxy.active import Active, build_active, write_active
from proxy.handover import prepare
from proxy.keys import create_key
from proxy.listening import Address, TlsFiles
from proxy.worker import Worker, build_or_refuse_all, listener_tls, node_name
from telemetry.fitted_file import save_fitted
from telemetry.journal_counters import JournalCounters
from tests.proxy.test_keys import NOW
from tests.support.certificates import make_certificates
from tests.support.simple_config import SIMPLE

ANYWHERE = Address("127.0.0.1", 0)


class Plane:
    """Remembers what it was given."""

    def __init__(self) -> None:
        self.given: list[Any] = []
        self.learned: list[Learned] = []
        self.fitted = NOTHING_FITTED

    def configure(self, configuration: Any, keys: Any, fitted: Fitted | None = None) -> None:
        self.given.append(configuration)
        self.fitted = self.fitted if fitted is None else fitted

    def learn(self, learned: Learned) -> None:
        self.learned.append(learned)

    def counters(self) -> dict[Any, float]:
        return {("pointsman_requests_total", ()): 1.0}

    def state(self) -> dict[str, object]:
        return {}


class Journal:
    """Has counted five."""

    counters = JournalCounters(written=5)


def worker_for(directory: Path, workers: int, text: str = SIMPLE) -> tuple[Worker, Plane, Active]:
    handover = prepare(directory, listen=ANYWHERE, admin=ANYWHERE, workers=workers)
    plane: Any = Plane()
    journal: Any = Journal()
    worker = Worker(handover, 0, plane, journal, None)
    active = Active(0, str(directory / "config.yaml"), text)
    return worker, plane, active


def test_takes_its_share_of_what_all_workers_may_hold(tmp_path: Path) -> None:
    text = SIMPLE + "limits: {in_flight: 100}\n"
    worker, plane, active = worker_for(tmp_path, 4, text)
    worker.take_up(active, *build_active(active, environment={}))
    assert plane.given[0].limits.in_flight == 25
    worker.handover.close()


def test_simulated_backends_point_at_the_running_simulator(tmp_path: Path) -> None:
    worker, plane, active = worker_for(tmp_path, 1)
    worker.take_up(active, *build_active(active, environment={}))
    assert plane.given[0].backends["quick"].port == worker.handover.simulator_address.port
    worker.handover.close()


async def test_a_reload_takes_the_active_file_once(tmp_path: Path) -> None:
    worker, plane, active = worker_for(tmp_path, 1)
    write_active(tmp_path, Active(2, active.file, active.text))
    await worker.reload(2)
    await worker.reload(2)
    assert (len(plane.given), worker.generation) == (1, 2)
    with pytest.raises(RuntimeError, match="is 2, not 3"):
        await worker.reload(3)
    worker.handover.close()


async def test_a_reload_takes_up_what_was_fitted(tmp_path: Path) -> None:
    worker, plane, active = worker_for(tmp_path, 1)
    table = pack_grams(10, [1], [1.0], [[0.5]])
    data = fitted_bytes(TextModel((table,), (Head("a", 0.0, (), {}),), 40), None)
    save_fitted(worker.handover.directory, data)
    write_active(tmp_path, Active(1, active.file, active.text))
    await worker.reload(1)
    assert plane.fitted == read_fitted(data)
    worker.handover.close()


def test_learns_what_the_keeper_sends_and_counts_the_journal_too(tmp_path: Path) -> None:
    worker, plane, _ = worker_for(tmp_path, 1)
    worker.learn(Learned().to_bytes(0.0))
    assert len(plane.learned) == 1
    counters = worker.counters()
    assert counters["pointsman_requests_total", ()] == 1.0
    assert counters["pointsman_capture_written_total", ()] == 5.0
    worker.handover.close()


def test_a_pepper_that_became_unreadable_lets_nobody_in_and_serves_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, secret = create_key(tmp_path / "keys.yaml", caller="app", now=NOW)
    text = SIMPLE + "keys: {file: keys.yaml}\n"
    keys_text = (tmp_path / "keys.yaml").read_text()
    (tmp_path / "keys.pepper").unlink()
    active = Active(0, str(tmp_path / "config.yaml"), text, keys_text)
    _, keys = build_or_refuse_all(active)
    assert keys is not None
    assert keys.caller_of(secret.encode()) is None
    assert "keys_unusable" in capsys.readouterr().err


async def test_the_listener_speaks_tls_1_2_or_newer(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    files = TlsFiles(certificates.certificate_file, certificates.key_file)
    context = listener_tls(files)
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    client = certificates.client_context()
    client.set_alpn_protocols(["h2", "http/1.1"])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
    writer.close()
    server.close()
    assert listener_tls(None) is None


def test_a_node_name_is_plain() -> None:
    assert 0 < len(node_name()) <= 64
    assert all(c.isalnum() or c in ".-" for c in node_name())
