from policies.facts import BackendFacts
from policies.narrowing import interchangeable, pinned
from tests.support.policy_cases import policy_of

FACTS = {
    facts.name: facts
    for facts in (
        BackendFacts("plain"),
        BackendFacts("one", vectors="small"),
        BackendFacts("two", vectors="large"),
        BackendFacts("three", vectors="small"),
    )
}
RULES = "require: {cost: {max: $1}}, confidence: {from: [checks], accept: 0.5}, hold: all"


def route(words: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    policy = policy_of(f"routes:\n  default: {{{words}}}", FACTS)
    match = policy.route_for("default", {})
    assert match is not None
    narrowed = interchangeable(match, FACTS)
    assert narrowed.route.name == "default"
    compiled = tuple(candidate.backend for candidate in narrowed.compiled.candidates)
    assert compiled == narrowed.route.candidates
    return narrowed.route.candidates, narrowed.route.on_failure


def test_only_the_same_vectors_may_stand_in_for_each_other() -> None:
    assert route("candidates: [one, two, three, plain]") == (("one", "three"), ())
    assert route("candidates: [plain, two, one]") == (("two",), ())
    assert route("candidates: [two], on_failure: [one]") == (("two",), ())
    assert route("candidates: [one], on_failure: [two, three]") == (("one",), ("three",))


def test_without_any_vectors_the_first_candidate_is_alone() -> None:
    assert route("candidates: [plain], on_failure: [one]") == (("plain",), ())


def test_a_pinned_route_has_one_backend_and_asks_nothing_of_it() -> None:
    words = f"candidates: [one, two], on_failure: [two], timeout: {{total: 5s}}, {RULES}"
    policy = policy_of(f"routes:\n  default: {{{words}}}", FACTS)
    match = policy.route_for("default", {})
    assert match is not None
    narrowed = pinned(match, "three", FACTS).route
    assert (narrowed.name, narrowed.candidates, narrowed.on_failure) == ("default", ("three",), ())
    assert narrowed.require.cost is None
    assert (narrowed.confidence, narrowed.hold) == (None, "none")
    assert narrowed.timeout.total_s == 5


def test_vectors_are_held_against_limits_but_never_judged() -> None:
    policy = policy_of(f"routes:\n  default: {{candidates: [one, three], {RULES}}}", FACTS)
    match = policy.route_for("default", {})
    assert match is not None
    narrowed = interchangeable(match, FACTS).route
    assert narrowed.require.cost is not None
    assert (narrowed.confidence, narrowed.hold) == (None, "none")
