"""What the model's process is told."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from learning import local_process
from learning.local_process import CONTEXT_TOKENS, SLOTS, TEMPLATE, ServerOptions, parameters

OPTIONS = ServerOptions(Path("/models/gemma.gguf"), 4711, 1)


class FakeParams(SimpleNamespace):
    """As much of CommonParams as is set."""

    def __init__(self) -> None:
        super().__init__(
            model=SimpleNamespace(),
            cpuparams=SimpleNamespace(),
            cpuparams_batch=SimpleNamespace(),
        )


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A stand-in for xllamacpp that records the servers it is asked for."""
    started: list[FakeParams] = []
    module = SimpleNamespace(CommonParams=FakeParams, Server=started.append, started=started)
    monkeypatch.setitem(sys.modules, "xllamacpp", module)  # type: ignore[arg-type]
    return module


def test_listens_on_loopback_only_with_a_whole_context_for_each_slot(
    fake: SimpleNamespace,
) -> None:
    wanted = parameters(OPTIONS)
    assert wanted.hostnames == ["127.0.0.1"]
    assert wanted.port == 4711
    assert wanted.n_ctx // wanted.n_parallel == CONTEXT_TOKENS
    assert wanted.n_parallel == SLOTS
    assert wanted.cpuparams.n_threads == wanted.cpuparams_batch.n_threads == 1


def test_sets_a_template_because_the_model_has_none(fake: SimpleNamespace) -> None:
    wanted = parameters(OPTIONS)
    assert wanted.use_jinja
    assert wanted.chat_template == TEMPLATE
    assert TEMPLATE.endswith("Answer:{% endif %}")


def test_the_path_of_the_model_is_not_its_name(fake: SimpleNamespace) -> None:
    assert parameters(OPTIONS).model_alias == {"gemma"}


def test_serves_until_its_input_ends(
    fake: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "nothing").write_bytes(b"")
    with (tmp_path / "nothing").open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        local_process.main(OPTIONS.arguments())
    assert fake.started[0].model.path == "/models/gemma.gguf"
