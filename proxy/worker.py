"""One worker: the data plane on its inherited socket, on a loop of its own.

    read the active configuration -> journal, data plane -> listen -> tell the supervisor
    -> serve until SIGTERM -> drain (second SIGTERM: leave at once) -> flush the journal

It never waits for the keeper: what it learns and counts goes out through a `Link`, what it is
told comes in the same way.
"""

import asyncio
import gc
import os
import socket
import ssl
from dataclasses import dataclass, field, replace

import msgspec
import uvloop

from adapters.standing import Standing
from policies.fitted import Fitted
from policies.learned import Learned
from policies.lock import NO_LOCK, Lock
from telemetry.journal import Journal
from telemetry.logs import log
from telemetry.metrics import Counters, journal_counters

from .active import Active, build_active, read_active
from .child import DRAIN_S, StopSignal, describe_failure
from .configuration import Configuration
from .control import Answer, CanaryArms, Conversations, ProbeAnswer, Suspended
from .fitting import load_models, load_models_now
from .handover import Handover
from .keys import KeyFileError, Keys
from .link import Link
from .listening import TlsFiles, load_certificate
from .server import DataPlane
from .tasks import TaskKeeper
from .trials_file import Refuted, Trials, arms_of, read_trials, suspended_in, without_former

FLUSH_S = 0.5
LOOK_UP_THREADS = "16"
"""libuv gives half of its threads to names: with its own four, two dead name servers stop all."""
GC_THRESHOLD = 50_000  # with the default of 700, collections cost about 10 % (SPEED)


@dataclass(slots=True)
class Worker:
    """What the link speaks for. `count` is the number of workers: limits are shared equally."""

    handover: Handover
    index: int
    plane: DataPlane
    journal: Journal
    tls: ssl.SSLContext | None
    generation: int = -1
    lock: Lock = NO_LOCK
    refuted: Refuted = field(default_factory=dict)

    def take_up(
        self,
        active: Active,
        configuration: Configuration,
        keys: Keys | None,
        fitted: Fitted | None = None,
    ) -> None:
        """Swap the configuration in; requests under way keep the one they began with."""
        count = len(self.handover.worker_sockets)
        mine = replace(
            configuration,
            limits=configuration.limits.share(count),
            backends={
                name: replace(backend, in_flight_max=max(1, backend.in_flight_max // count))
                for name, backend in configuration.backends.items()
            },
        )
        mine = mine.with_simulator(self.handover.simulator_address)
        if self.tls is not None and configuration.listen.tls is not None:
            load_certificate(self.tls, configuration.listen.tls)
        self.plane.configure(mine, keys, fitted)
        self.lock = configuration.lock
        if self.refuted:
            self._withdraw()
        self.generation = active.generation

    async def reload(self, generation: int) -> None:
        """Parse the active configuration off the loop, then swap it in."""
        active = read_active(self.handover.directory)
        if active.generation < generation:
            raise RuntimeError(f"the active configuration is {active.generation}, not {generation}")
        if active.generation > self.generation:
            configuration, keys = await asyncio.to_thread(build_active, active)
            fitted = await load_models(self.handover.directory, self.plane.fitted)
            self.take_up(active, configuration, keys, fitted)

    def counters(self) -> Counters:
        """The data plane's counters and the journal's."""
        return {**self.plane.counters(), **journal_counters(self.journal.counters)}

    def state(self) -> dict[str, object]:
        """The data plane's state."""
        return self.plane.state()

    def learn(self, data: bytes) -> None:
        """What the keeper learned from all workers."""
        self.plane.learn(Learned.from_bytes(data))

    def answered(self, answer: Answer) -> None:
        """What the keeper found."""
        self.plane.lookup.answered(answer)

    def hear(self, news: Standing | ProbeAnswer) -> None:
        """How a backend stands, or whether it may be tried again."""
        self.plane.watch.hear(news)

    def take_canaries(self, canaries: CanaryArms) -> None:
        """Which requests go to canaries from now on."""
        self.plane.sides.take(canaries.arms)

    def suspend(self, suspended: Suspended) -> None:
        """Which promises are not kept any more."""
        self.refuted = suspended.refuted
        self._withdraw()

    def take_trials(self, trials: Trials | None) -> None:
        """What canaries and promises had come to: the keeper may be away just now."""
        if trials is not None:
            self.plane.sides.take(arms_of(trials))
            self.suspend(Suspended(trials.refuted))

    def _withdraw(self) -> None:
        """Keep no promise whose proof is refuted, of the lock that is in force."""
        broken = suspended_in(self.lock, self.refuted)
        self.plane.suspend(broken, without_former(self.lock, self.refuted))

    def hear_of(self, conversations: Conversations) -> None:
        """What conversations stay with, as other workers have it."""
        self.plane.conversations.hear(conversations.entries)

    def conversations(self) -> Conversations:
        """What they stay with here."""
        return self.plane.conversations.all()

    def standings(self) -> list[Standing]:
        """What is held against backends here."""
        return self.plane.watch.standings()


def run_worker(handover: Handover, index: int) -> None:
    """Serve until told to stop. Called in the fork."""
    listening = handover.worker_sockets[index]
    handover.keep_only(listening)
    gc.set_threshold(GC_THRESHOLD)
    os.environ.setdefault("UV_THREADPOOL_SIZE", LOOK_UP_THREADS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(handover, index, listening))


async def _serve(handover: Handover, index: int, listening: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    stop = StopSignal(loop)
    active = read_active(handover.directory)
    configuration, keys = build_or_refuse_all(active)
    capture = configuration.capture
    journal = Journal(
        capture.directory,
        node=node_name(),
        worker=index,
        durability=capture.durability,
        on_error=capture.on_error,
        loop=loop,
    )
    workers = len(handover.worker_sockets)
    plane = DataPlane(loop=loop, journal=journal, worker=index, workers=workers)
    tls = listener_tls(configuration.listen.tls)
    worker = Worker(handover, index, plane, journal, tls)
    worker.take_up(active, configuration, keys, load_models_now(handover.directory))
    worker.take_trials(read_trials(handover.directory))
    await plane.listen(listening, tls)
    tasks = TaskKeeper(_report_failure)
    link = Link(handover.control_path, index, os.getpid(), worker, _report_trouble)
    plane.lookup.through(link.ask)
    plane.watch.through(link.ask)
    plane.conversations.through(link.ask)
    tasks.start("keeper link", link.run())
    handover.tell(f"worker {index} ready")
    gc.freeze()
    await stop.asked.wait()
    await _drain(plane, stop)
    link.report_now()
    await link.flush(FLUSH_S)
    await tasks.close()
    plane.close()
    journal.close()


async def _drain(plane: DataPlane, stop: StopSignal) -> None:
    """Finish what is being served, until the second signal."""
    plane.begin_drain()
    drained = asyncio.ensure_future(plane.drained(DRAIN_S))
    hurried = asyncio.ensure_future(stop.now.wait())
    await asyncio.wait((drained, hurried), return_when=asyncio.FIRST_COMPLETED)
    drained.cancel()
    hurried.cancel()


def build_or_refuse_all(active: Active) -> tuple[Configuration, Keys | None]:
    """A pepper that became unreadable must not stop the service: then no key is valid."""
    try:
        return build_active(active)
    except KeyFileError as error:
        log("keys_unusable", level="error", error=str(error))
        return build_active(msgspec.structs.replace(active, keys_text=""))


def node_name() -> str:
    """This machine's name as records carry it: letters, digits, dot and dash, at most 64."""
    name = "".join(c if c.isalnum() or c in ".-" else "-" for c in socket.gethostname())
    return name[:64] or "node"


def listener_tls(files: TlsFiles | None) -> ssl.SSLContext | None:
    """TLS 1.2 or newer, HTTP/1.1 only."""
    if files is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    load_certificate(context, files)
    return context


def _report_trouble(message: str) -> None:
    log("keeper_link", level="warning", error=message)


def _report_failure(name: str, error: BaseException) -> None:
    log("task_failed", level="error", task=name, **describe_failure(error))
