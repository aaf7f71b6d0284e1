"""The keeper: folds, answers the admin port, reloads, and passes on what was learned.

Requests never wait for it. It holds what the workers share: the hub they report to, the folded
store, the learned state and the watch on the operator's files. When it dies the supervisor
starts another, which takes the same sockets and goes on from what is on disk.
"""

import asyncio
import os
import signal

import uvloop

from telemetry.logs import log

from .active import read_active
from .alarms import Alarms
from .child import StopSignal, describe_failure
from .folding import Folding
from .handover import Handover
from .hub import Hub
from .lookup import Finder
from .reloading import Current, Reloader, build_current
from .shutdowns import ModelWatch
from .tasks import TaskKeeper
from .trials import TrialKeeper

SPREAD_S = 10.0  # a worker that has not swapped by then is reported; it tries on
FINISH_S = 12.0  # the supervisor kills us after 15


NICENESS = 5
"""Where cores are scarce the workers go first: folding may lag, answering may not."""


def run_keeper(handover: Handover) -> None:
    """Serve until told to stop. Called in the fork."""
    handover.keep_only(handover.admin_socket, handover.control_socket)
    os.nice(NICENESS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_keep(handover))


async def _keep(handover: Handover) -> None:
    from .admin import AdminListener  # aiohttp: 120 ms that only this process needs to spend

    loop = asyncio.get_running_loop()
    stop = StopSignal(loop)
    current = build_current(read_active(handover.directory))
    capture = current.configuration.capture
    finder = Finder(capture.directory)
    hub = Hub(generation=current.generation, on_trouble=_report_trouble, on_question=finder.ask)
    folding = Folding(capture.directory, keep_s=capture.keep_s, share=hub.share_learned)
    alarms = Alarms(lambda: reloader.current.configuration.alarms)
    trials = TrialKeeper(
        capture.directory,
        current.configuration,
        order=hub.order,
        alarms=alarms,
        note=folding.note,
    )
    reloader = Reloader(
        current,
        spread=lambda generation: hub.reload(generation, timeout_s=SPREAD_S),
        on_change=lambda old, new: apply_change(handover, folding, trials, old, new),
    )
    models = ModelWatch(lambda: reloader.current.configuration)
    admin = AdminListener(
        handover=handover,
        hub=hub,
        folding=folding,
        reloader=reloader,
        models=models,
        trials=trials,
        alarms=alarms,
    )
    tasks = TaskKeeper(_report_failure)
    await hub.listen(handover.control_socket)
    await folding.open()
    await trials.open()
    await admin.listen(handover.admin_socket)
    loop.add_signal_handler(signal.SIGHUP, reload_in_background, tasks, reloader)
    loop.add_signal_handler(signal.SIGUSR1, admin.begin_drain)
    tasks.start("fold", folding.run())
    tasks.start("watch", reloader.watch())
    tasks.start("models", models.run())
    tasks.start("trials", trials.run())
    tasks.start("alarms", alarms.run())
    handover.tell("keeper ready")
    await stop.asked.wait()
    await tasks.close()
    await trials.finish()
    await folding.finish(FINISH_S)
    await admin.close()
    await hub.finish()
    finder.close()


def reload_in_background(tasks: TaskKeeper, reloader: Reloader) -> None:
    """What SIGHUP does."""
    tasks.start("reload", reloader.reload_quietly("SIGHUP"))


def apply_change(
    handover: Handover, folding: Folding, trials: TrialKeeper, old: Current, new: Current
) -> None:
    """What a new configuration changes in the keeper itself."""
    trials.follow(new.configuration)
    folding.keep_s = new.configuration.capture.keep_s
    if new.configuration.simulated != old.configuration.simulated:
        handover.tell("supervisor simulate")


def _report_trouble(message: str) -> None:
    log("worker_link", level="warning", error=message)


def _report_failure(name: str, error: BaseException) -> None:
    """A task that should run for ever has failed: better a new keeper than half of one."""
    log("task_failed", level="error", task=name, **describe_failure(error))
    os._exit(1)
