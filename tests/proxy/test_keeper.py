"""What the keeper does with a new configuration; the rest is seen in test_serving."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.active import Active
from proxy.alarms import Alarms
from proxy.folding import Folding
from proxy.handover import Handover, prepare
from proxy.keeper import apply_change
from proxy.listening import Address
from proxy.reloading import Current, build_current
from proxy.trials import TrialKeeper
from tests.support.simple_config import SIMPLE

ANYWHERE = Address("127.0.0.1", 0)


@pytest.fixture
def handover(tmp_path: Path) -> Handover:
    return prepare(tmp_path, listen=ANYWHERE, admin=ANYWHERE, workers=1)


def current(directory: Path, text: str) -> Current:
    return build_current(Active(0, str(directory / "config.yaml"), text), {})


def told(handover: Handover) -> str:
    os.set_blocking(handover.status_read, False)
    try:
        return os.read(handover.status_read, 100).decode()
    except BlockingIOError:
        return ""


def trials_of(directory: Path, old: Current, folding: Folding) -> TrialKeeper:
    alarms = Alarms(lambda: old.configuration.alarms)
    return TrialKeeper(
        directory, old.configuration, order=lambda what: None, alarms=alarms, note=folding.note
    )


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (("candidates: [quick]", "candidates: [other]"), ""),
        (("speed: 1000", "speed: 500"), "supervisor simulate\n"),
        (("  other: ", "  renamed: "), "supervisor simulate\n"),
    ],
)
def test_the_simulator_is_replaced_only_when_its_backends_changed(
    tmp_path: Path, handover: Handover, change: tuple[str, str], word: str
) -> None:
    folding = Folding(tmp_path, keep_s=None, share=lambda data: None)
    old, new = current(tmp_path, SIMPLE), current(tmp_path, SIMPLE.replace(*change))
    apply_change(handover, folding, trials_of(tmp_path, old, folding), old, new)
    assert told(handover) == word
    handover.close()


def test_retention_follows_the_file(tmp_path: Path, handover: Handover) -> None:
    folding = Folding(tmp_path, keep_s=None, share=lambda data: None)
    old = current(tmp_path, SIMPLE)
    capture = replace(old.configuration.capture, keep_s=86_400.0)
    new = replace(old, configuration=replace(old.configuration, capture=capture))
    apply_change(handover, folding, trials_of(tmp_path, old, folding), old, new)
    assert folding.keep_s == 86_400.0
    handover.close()
