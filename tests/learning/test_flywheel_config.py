import pytest

from learning.flywheel_config import Stage
from proxy.configuration import load_configuration

STAGE = Stage("1200ms", 4.0, "http://127.0.0.1:9/v1")


@pytest.fixture
def read(tmp_path):
    (tmp_path / "answers.jsonl").write_text("")

    def _read(text):
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return load_configuration(path)

    return _read


def route_of(configuration):
    return next(one for one in configuration.policy.routes if one.name == "extract")


@pytest.mark.parametrize("name", ["today", "measured", "baseline", "trial", "canary", "routed"])
def test_every_stage_is_a_configuration(read, name):
    assert route_of(read(getattr(STAGE, name)())).candidates


@pytest.mark.parametrize("name", ["trial", "canary", "routed"])
def test_without_an_address_the_student_is_simulated(read, name):
    found = read(getattr(STAGE._replace(url=None), name)())
    assert found.backends["student"].is_simulated


def test_the_routed_stage_promises_what_was_measured(read):
    measured, routed = route_of(read(STAGE.measured())), route_of(read(STAGE.routed()))
    assert routed.require == measured.require
    assert routed.require.latency.quantile == 0.9
    assert routed.require.latency.budget_s == 1.2
    assert routed.escalate.to == ("o3-mini",)


def test_the_canary_escalates_nothing(read):
    found = route_of(read(STAGE.canary()))
    assert (found.candidates, found.escalate) == (("gpt-4",), None)
    assert found.confidence.accept == 0
    assert found.canary.stages == ("shadow", 0.75, 1.0)
