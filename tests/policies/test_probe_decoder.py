import pytest

from policies.words import ProbeExpectation, ProbeWorld
from tests.support.policy_cases import errors_of, policy_of


def probe_of(words):
    policy = policy_of(f"routes:\n  default: {{candidates: local, probes: [{{{words}}}]}}")
    return policy.default.probes[0]


def test_reads_a_whole_probe():
    probe = probe_of(
        "prompt: Payoff, model: auto, labels: {Task: 1}, max_tokens: 8, "
        "world: {certified: true, tokens: {local: 8}, latency: {gpt-4: 1s}, "
        "first_token: {gpt-4: 300ms}, in_flight: {local: 3}, unavailable: [o3-mini]}, "
        "expect: {backend: local}"
    )
    assert (probe.prompt, probe.model, probe.labels) == ("Payoff", "auto", {"task": "1"})
    assert probe.max_tokens == 8
    assert probe.world == ProbeWorld(
        True, {"local": 8}, {"gpt-4": 1}, {"gpt-4": 0.3}, {"local": 3}, ("o3-mini",)
    )
    assert probe.expect == ProbeExpectation("local")
    assert (probe.file, probe.line) == ("policy.yaml", 2)


def test_world_is_unknown_where_nothing_is_stated():
    assert probe_of("prompt: x, expect: {rejected: true}").world == ProbeWorld()


EXPECTING = "{prompt: x, expect: {backend: local}, "


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        ("x", "probe 1 of route 'default' must be a mapping, not 'x'"),
        ("{prompt: x}", "needs 'expect'"),
        ("{expect: {backend: local}}", "needs 'prompt'"),
        ("{prompt: x, expect: {}}", "needs either backend: NAME or rejected: true"),
        ("{prompt: x, expect: {backend: gpt}}", "backend: no backend 'gpt'"),
        ("{prompt: x, expect: {backends: local}}", "did you mean 'backend'?"),
        (EXPECTING + "world: {tokens: {locl: 8}}}", "no backend 'locl'; did you mean 'local'?"),
        (EXPECTING + "world: {tokens: {local: -8}}}", "-8 is below 0"),
        (EXPECTING + "world: {latency: {local: 8}}}", "'8' is not a duration"),
        (EXPECTING + "worlds: {}}", "did you mean 'world'?"),
    ],
)
def test_refuses(probe, message):
    errors = errors_of(f"routes:\n  default: {{candidates: local, probes: [{probe}]}}")
    assert any(message in error for error in errors), errors


def test_probes_are_a_list():
    errors = errors_of("routes: {default: {candidates: local, probes: {prompt: x}}}")
    assert errors == ["1:47: probes: expected a list, not a mapping"]
