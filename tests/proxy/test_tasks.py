"""Tasks are named, kept, and heard of when they fail."""

import asyncio

from proxy.tasks import TaskKeeper


async def test_reports_the_failure_of_a_named_task() -> None:
    heard: list[tuple[str, str]] = []
    tasks = TaskKeeper(lambda name, error: heard.append((name, str(error))))

    async def fail() -> None:
        raise ValueError("broken")

    await asyncio.wait([tasks.start("fragile", fail())])
    await asyncio.sleep(0)
    assert heard == [("fragile", "broken")]
    assert len(tasks) == 0


async def test_close_cancels_what_still_runs_and_reports_nothing() -> None:
    heard: list[str] = []
    tasks = TaskKeeper(lambda name, error: heard.append(name))
    task = tasks.start("endless", asyncio.Event().wait())  # type: ignore[arg-type]
    assert "endless" in repr(tasks)
    await tasks.close()
    assert task.cancelled()
    assert heard == []
