"""Models that will be shut down: who is asked, who is warned, what is kept."""

import asyncio
import contextlib
import datetime as dt
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxy.cli.check import check_file
from proxy.cli.examination import models
from proxy.configuration import Configuration, parse_configuration
from proxy.shutdowns import FILE, ModelWatch, Shutdown, ask, read, soon, write
from tests.support.scripted import ScriptedUpstream, request, response, until_closed

TODAY = dt.datetime.now(dt.UTC).date()


def in_days(days: int) -> dt.date:
    return TODAY + dt.timedelta(days=days)


@contextmanager
def announced(directory: Path, days: int) -> Iterator[tuple[ScriptedUpstream, Configuration]]:
    """Two backends at one server that announces the end of `old`, and one nobody listens for."""
    models = [{"id": "old", "shutdown_date": str(in_days(days))}, {"id": "new"}]
    body = json.dumps({"object": "list", "data": models}).encode()
    with ScriptedUpstream([request, response(body)] * 2 + [until_closed]) as upstream:
        text = f"""\
capture: {{directory: {directory}}}
backends:
  a: {{adapter: openai, base_url: '{upstream.base_url}', model: old}}
  b: {{adapter: openai, base_url: '{upstream.base_url}', model: new}}
  c: {{adapter: openai, base_url: 'http://127.0.0.1:1/v1', model: old}}
  d: {{adapter: simulated, profile: local}}
routes:
  extract: {{candidates: [b], escalate: {{to: [a]}}, confidence: {{from: [schema], accept: 0.5}}}}
  default: {{candidates: [d], on_failure: [a]}}
"""
        yield upstream, parse_configuration(text, file=directory / "c.yaml", environment={})


async def test_each_server_is_asked_once_and_the_routes_concerned_are_named(tmp_path: Path) -> None:
    with announced(tmp_path, 20) as (upstream, configuration):
        shutdowns, unknown = await ask(configuration)
        assert len(upstream.requests) == 1
    assert shutdowns == [Shutdown("a", "old", in_days(20), ("extract", "default"))]
    assert list(unknown) == ["c"]
    message = shutdowns[0].message(TODAY)
    when = f"shuts down on {in_days(20)}, in 20 days"
    assert message == f"backend 'a': model 'old' {when}; routes: extract, default"


@pytest.mark.parametrize(("days", "is_soon"), [(91, False), (90, True), (0, True), (-5, True)])
def test_the_warning_begins_ninety_days_ahead_and_does_not_end(days: int, is_soon: bool) -> None:
    shutdown = Shutdown("a", "old", in_days(days), ())
    assert soon([shutdown], TODAY) == ([shutdown] if is_soon else [])
    assert ("ended on" in shutdown.message(TODAY)) == (days <= 0)


def test_the_nearest_comes_first() -> None:
    ends = [Shutdown("a", "m", in_days(days), ()) for days in (30, -1, 7)]
    assert [one.days_left(TODAY) for one in soon(ends, TODAY)] == [-1, 7, 30]


async def test_what_was_heard_is_kept_for_the_same_model_only(tmp_path: Path) -> None:
    with announced(tmp_path, 20) as (_, configuration):
        assert read(configuration) == []
        shutdowns, _ = await ask(configuration)
        write(tmp_path, shutdowns)
        assert read(configuration) == shutdowns
        assert (tmp_path / FILE).stat().st_mode & 0o077 == 0
        text = configuration.text.replace("model: old", "model: newer")
        other = parse_configuration(text, file=tmp_path / "c.yaml", environment={})
        assert read(other) == []
        (tmp_path / FILE).write_text("{")
        assert read(configuration) == []


@pytest.mark.parametrize(("days", "level"), [(60, "warning"), (7, "error")])
async def test_the_keeper_logs_and_shows_what_ends(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], days: int, level: str
) -> None:
    with announced(tmp_path, days) as (_, configuration):
        watch = ModelWatch(lambda: configuration)
        assert watch.state() == []
        await watch.look()
    assert watch.state() == [
        {
            "backend": "a",
            "model": "old",
            "shutdown_date": str(in_days(days)),
            "days_left": days,
            "routes": ["extract", "default"],
        }
    ]
    (line,) = capfd.readouterr().err.splitlines()
    assert (json.loads(line)["event"], json.loads(line)["level"]) == ("model_shutdown", level)
    assert (tmp_path / FILE).exists()


async def test_the_watch_goes_on_day_after_day_whatever_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("proxy.shutdowns.FIRST_S", 0.0)
    monkeypatch.setattr("proxy.shutdowns.EVERY_S", 0.01)
    looks = 0

    def configuration() -> Configuration:
        nonlocal looks
        looks += 1
        raise RuntimeError("odd")

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.2):
            await ModelWatch(configuration).run()
    assert looks > 2
    assert "RuntimeError" in capfd.readouterr().err


async def test_a_directory_that_cannot_be_written_does_not_stop_the_watch(tmp_path: Path) -> None:
    with announced(tmp_path, 20) as (_, configuration):
        (tmp_path / f"{FILE}.new").mkdir()
        watch = ModelWatch(lambda: configuration)
        await watch.look()
    assert len(watch.found) == 1


@pytest.mark.parametrize(("days", "verdict"), [(60, "note"), (7, "wrong"), (200, "ok")])
def test_doctor_asks_and_check_repeats_it_without_asking(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], days: int, verdict: str
) -> None:
    with announced(tmp_path, days) as (upstream, configuration):
        found = list(models(configuration))
        assert {one.verdict for one in found if "'c'" not in one.detail} == {verdict}
        assert any("'c' was not heard" in one.detail for one in found)
        configuration.file.write_text(configuration.text)
        assert check_file(configuration.file) == 0
        assert len(upstream.requests) == 1
    shown = capsys.readouterr().out
    assert ("c.yaml:1:1: warning: backend 'a': model 'old'" in shown) == (verdict != "ok")


def test_doctor_has_nobody_to_ask_of_simulated_backends(tmp_path: Path) -> None:
    text = "backends: {d: {adapter: simulated}}\nroutes: {default: {candidates: [d]}}\n"
    configuration = parse_configuration(text, file=tmp_path / "c.yaml", environment={})
    assert list(models(configuration)) == []
