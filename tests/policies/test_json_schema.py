import jsonschema_rs
import pytest
import yaml

from policies.json_schema import config_json_schema
from tests.support.policy_cases import errors_of

SCHEMA = config_json_schema()
VALIDATOR = jsonschema_rs.validator_for(SCHEMA)


def document(route):
    return {
        "backends": {"gpt-4": {"adapter": "openai"}},
        "routes": {"default": yaml.safe_load("{" + route + "}")},
    }


ROUTES = [
    'candidates: [gpt-4], match: {model: [auto, "g*"], labels: {task: a, n: 1}}',
    "candidates: gpt-4, require: {latency: {p90: 200ms, of: total}, cost: {max: $0.004}}",
    "candidates: gpt-4, require: {error: {max: 9%, confidence: 95%, reference: gpt-4}}",
    "candidates: gpt-4, prefer: weighted, weights: {error: $0.05}",
    "candidates: gpt-4, confidence: {from: [checks, schema], accept: 0.5}, hold: 64",
    "candidates: gpt-4, escalate: {to: [local], max_steps: 1, within: 1500ms}, on_failure: [local]",
    "candidates: gpt-4, timeout: {total: 30s, first_token: 10s, idle: 60s}",
    "candidates: gpt-4, hedge: {after: p95, max_extra_cost: 5%}, explore: {share: 3%}",
    "candidates: gpt-4, shadow: {backend: local, share: 2%, budget: $3}, capture: metadata",
    "candidates: gpt-4, sticky: conversation, capture: 'off'",
    "candidates: gpt-4, canary: {backend: local-v2, stages: [shadow, 1%, 100%], "
    "keep_if: {error: +0.5pp, p95: 200ms, cost: +0%}, min_samples: 5, then: promote}",
    "candidates: gpt-4, redact: false, probes: [{prompt: x, labels: {a: b}, "
    "world: {certified: true, tokens: {local: 8}, "
    "latency: {local: 1s}}, expect: {rejected: true}}]",
]


@pytest.mark.parametrize("route", ROUTES)
def test_what_the_loader_accepts_fits(route):
    assert errors_of(f"routes: {{default: {{{route}}}}}".replace("'off'", "off")) == []
    problems = [error.message for error in VALIDATOR.iter_errors(document(route))]
    assert problems == []


@pytest.mark.parametrize(
    "route",
    [
        "prefer: cheapest",
        "candidates: gpt-4, prefers: cheapest",
        "candidates: gpt-4, prefer: cheap",
        "candidates: []",
        "candidates: gpt-4, require: {latency: {p90: 200}}",
        "candidates: gpt-4, require: {cost: {max: 0.004}}",
        "candidates: gpt-4, confidence: {accept: 1.5}",
        "candidates: gpt-4, explore: {share: 0.03}",
        "candidates: gpt-4, probes: [{prompt: x}]",
        "candidates: gpt-4, canary: {backend: local-v2, keep_if: {}}",
    ],
)
def test_what_the_loader_refuses_does_not_fit(route):
    assert errors_of(f"routes: {{default: {{{route}}}}}")
    assert not VALIDATOR.is_valid(document(route))


def test_every_word_of_a_route_is_known_to_the_loader():
    """A word in the schema that the loader does not know would be reported as unknown."""
    words = SCHEMA["properties"]["routes"]["additionalProperties"]["properties"]
    for word in words:
        errors = errors_of(f"routes: {{default: {{{word}: {{}}}}}}")
        assert not any("unknown key" in error for error in errors), word


def test_default_route_is_required():
    assert not VALIDATOR.is_valid({"backends": {}, "routes": {}})
    assert not VALIDATOR.is_valid({"backends": {}})


def test_unknown_section_does_not_fit():
    assert not VALIDATOR.is_valid({**document("candidates: gpt-4"), "router": {}})
