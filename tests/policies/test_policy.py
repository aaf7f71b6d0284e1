import pytest
from msgspec.structs import replace

from pointsman.tokens import Price
from tests.support.policy_cases import BACKENDS, policy_of

POLICY = policy_of("""
    routes:
      extract:
        match: {model: [auto, gpt-4, "fine-*"], labels: {task: "extract-*"}}
        candidates: [local, gpt-4]
      vision:
        match: {labels: {kind: image}}
        candidates: [gpt-4]
      named:
        candidates: [local]
      default:
        candidates: [gpt-4]
        timeout: {total: 7s}
        capture: metadata
""")
TASK = {"task": "extract-1"}


@pytest.mark.parametrize(
    ("model", "labels", "route", "by"),
    [
        ("extract", {}, "extract", "name"),
        ("named", TASK, "named", "name"),
        ("default", TASK, "default", "name"),
        ("auto", TASK, "extract", "match"),
        ("gpt-4", TASK, "extract", "match"),
        ("fine-1", TASK, "extract", "match"),
        ("auto", {"kind": "image"}, "vision", "match"),
        ("auto", {**TASK, "kind": "image"}, "extract", "match"),
        ("local", {}, "backend:local", "backend"),
        ("gpt-4", {}, "default", "default"),
        ("auto", {}, "default", "default"),
        ("fine-1", {}, "default", "default"),
        ("fine-1", {"task": "chat"}, "default", "default"),
    ],
)
def test_route_of_a_known_name(model, labels, route, by):
    match = POLICY.route_for(model, labels)
    assert (match.route.name, match.by) == (route, by)


@pytest.mark.parametrize("model", ["gpt-5", "", "fine", "extract-1", "backend:local", "x" * 10_000])
def test_unknown_name_has_no_route(model):
    assert POLICY.route_for(model, {}) is None


def test_backend_alone_has_the_defaults_timeout_and_capture():
    route = POLICY.route_for("local", {}).route
    assert route.candidates == ("local",)
    assert route.timeout.total_s == 7
    assert route.capture == "metadata"
    assert route.on_failure == ()


def test_backend_named_in_some_match_is_not_reached_past_its_route():
    assert POLICY.route_for("gpt-4", {}).route.name == "default"


def test_pattern_does_not_hide_a_backend_of_its_own_name():
    policy = policy_of("""
        routes:
          r: {match: {model: "o3-*", labels: {task: t}}, candidates: [gpt-4]}
          default: {candidates: [gpt-4]}
    """)
    assert policy.route_for("o3-mini", {}).route.name == "backend:o3-mini"


def test_lists_routes_then_backends_that_are_not_hidden():
    backends = {**BACKENDS, "local": replace(BACKENDS["local"], hidden=True)}
    policy = policy_of(
        "routes: {gpt-4: {candidates: [local]}, default: {candidates: [local]}}", backends
    )
    assert policy.listed_models() == ("gpt-4", "default", "o3-mini", "local-v2")
    assert policy.route_for("local", {}) is not None


def digest(text, backends=BACKENDS):
    return policy_of(text, backends).digest


ONE = "routes: {default: {candidates: [gpt-4, local], require: {cost: {max: $0.1}}}}"


def test_digest_is_of_the_meaning_not_of_the_layout():
    same = """
        routes:
          default:
            require: {cost: {max: "$ 0.10"}}   # in another order, and with a comment
            candidates:
              - gpt-4
              - local
            probes: [{prompt: x, expect: {backend: gpt-4}}]
    """
    assert digest(ONE) == digest(same)
    assert len(digest(ONE)) == 16


@pytest.mark.parametrize(
    "other",
    [
        ONE.replace("$0.1", "$0.2"),
        ONE.replace("gpt-4, local", "local, gpt-4"),
        ONE.replace("{cost", "{latency: {p90: 1s}, cost"),
        "checks: {c: {in_prompt: true}}\n" + ONE.replace("require", "checks: [c], require"),
    ],
)
def test_digest_tells_different_policies_apart(other):
    assert digest(ONE) != digest(other)


def test_digest_changes_with_a_price():
    dearer = {**BACKENDS, "gpt-4": replace(BACKENDS["gpt-4"], price=Price(input=31, output=60))}
    assert digest(ONE) != digest(ONE, dearer)


def test_says_what_it_is():
    assert repr(POLICY) == f"<Policy {POLICY.digest}: 4 routes, 4 backends>"
