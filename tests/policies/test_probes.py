import pytest

from policies.probes import probe_features, probe_world, run_probes
from tests.support.policy_cases import policy_of


def results_of(probe, route="candidates: [local, gpt-4]", others=""):
    return run_probes(
        policy_of(f"""
routes:
{others}
  r:
    {{{route}, probes: [{probe}]}}
  default: {{candidates: [gpt-4]}}
""")
    )


@pytest.mark.parametrize(
    "probe",
    [
        "{prompt: x, expect: {backend: local}}",
        "{prompt: x, world: {unavailable: local}, expect: {backend: gpt-4}}",
        "{prompt: x, world: {tokens: {local: 5000, gpt-4: 1}}, expect: {backend: gpt-4}}",
        "{prompt: x, world: {latency: {local: 900s, gpt-4: 1s}}, expect: {rejected: false}}",
    ],
)
def test_probe_passes(probe):
    (result,) = results_of(probe)
    assert result.is_ok, result.message
    assert (result.route, result.file, result.message) == ("r", "policy.yaml", "ok")


def test_probe_that_fails_says_what_it_got_and_where_it_stands():
    (result,) = results_of("{prompt: x, expect: {backend: gpt-4}}")
    assert not result.is_ok
    assert result.message == "expected gpt-4, got local (cheapest of 2)"
    assert (result.line, result.column) == (4, 43)


LIMITED = "candidates: local, require: {latency: {p90: 200ms}}, if_none: reject"


def test_refusals_can_be_expected():
    late = "{prompt: x, world: {latency: {local: 1s}}, expect: {rejected: true}}"
    assert results_of(late, LIMITED)[0].is_ok
    early = late.replace("1s", "100ms")
    assert (
        results_of(early, LIMITED)[0].message
        == "expected a refusal, got local (the only candidate, meets p90 200 ms)"
    )
    wrong = late.replace("rejected: true", "backend: local")
    assert results_of(wrong, LIMITED)[0].message.startswith("expected local, got a refusal (none")


def test_certified_world_lets_the_candidates_compete():
    route = "candidates: local, require: {error: {max: 9%, reference: gpt-4}}"
    assert results_of("{prompt: x, expect: {backend: gpt-4}}", route)[0].is_ok
    assert results_of("{prompt: x, world: {certified: true}, expect: {backend: local}}", route)[
        0
    ].is_ok


def test_probe_inherits_what_its_route_matches():
    route = 'match: {model: ["fine-*", auto], labels: {task: "extract-*", app: [a, b]}}, candidates: local'  # noqa: E501
    assert results_of("{prompt: x, expect: {backend: local}}", route)[0].is_ok
    assert results_of("{prompt: x, labels: {task: extract-9}, expect: {backend: local}}", route)[
        0
    ].is_ok
    other = results_of("{prompt: x, labels: {task: chat}, expect: {backend: local}}", route)[0]
    assert other.message == "goes to route 'default', not 'r'"
    unknown = results_of("{prompt: x, model: nobody, expect: {backend: local}}", route)[0]
    assert unknown.message == "model 'nobody' is not known"


def test_probe_taken_by_an_earlier_route_fails():
    others = "  first: {match: {model: auto, labels: {app: a}}, candidates: gpt-4}"
    route = "match: {model: auto}, candidates: local"
    (result,) = results_of("{prompt: x, labels: {app: a}, expect: {backend: local}}", route, others)
    assert result.message == "goes to route 'first', not 'r'"


def test_probe_stands_for_a_request():
    policy = policy_of(
        "routes: {default: {candidates: local, "
        "probes: [{prompt: Payoff, max_tokens: 8, expect: {backend: local}}]}}"
    )
    features = probe_features(policy.default, policy.default.probes[0])
    assert features.model == "default"
    assert features.max_tokens == 8
    assert features.prompt_bytes == len('[{"role":"user","content":"Payoff"}]')


def test_every_probe_has_a_world_of_its_own():
    policy = policy_of("""
        routes:
          default:
            candidates: local
            probes:
              - {prompt: x, world: {tokens: {local: 8}}, expect: {backend: local}}
              - {prompt: x, expect: {backend: local}}
    """)
    first, second = (probe_world(policy, policy.default, p.world) for p in policy.default.probes)
    assert (first.learned.version, second.learned.version) == (20, 0)
    assert [result.line for result in run_probes(policy)] == [5, 6]


def test_what_is_drawn_to_explore_is_not_what_a_probe_is_about():
    route = "candidates: [local, gpt-4], explore: {share: 100%}"
    results = results_of("{prompt: x, expect: {backend: local}}", route)
    assert [result.message for result in results] == ["ok"]
