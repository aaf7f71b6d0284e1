"""The lock: read, written, and void once anything it was proved of has changed."""

from collections.abc import Mapping
from math import nan

import msgspec
import pytest

from policies.lock import (
    BadLock,
    Lock,
    Promises,
    RouteLock,
    apply_lock,
    read_lock,
    route_digest,
    void_reason,
    write_lock,
)
from policies.policy import Policy
from tests.support.policy_cases import policy_of

WORDS = "candidates: [local, gpt-4], require: {{error: {{max: {}, reference: {}}}}}"


def policy(limit: str = "9%", reference: str = "gpt-4", prefer: str = "cheapest") -> Policy:
    words = f"{WORDS.format(limit, reference)}, prefer: {prefer}"
    return policy_of(f"routes: {{r: {{{words}}}, default: {{candidates: [gpt-4]}}}}")


def lock_of(made: Policy) -> RouteLock:
    return RouteLock(
        0.8, 0.09, 0.95, "gpt-4", 300, 12, 0.07,
        route_digest(made.routes[0], made.backends), "labels",
    )  # fmt: skip


def reason(lock: RouteLock, now: Policy) -> str | None:
    return void_reason(lock, now.routes[0], now.backends)


def test_a_lock_is_read_as_it_was_written() -> None:
    lock = Lock({"r": lock_of(policy())})
    assert read_lock(write_lock(lock)) == lock


@pytest.mark.parametrize("data", [b"", b"[]", b'{"routes": {"r": {}}}', b'{"format": 9}'])
def test_what_is_no_lock_is_refused(data: bytes) -> None:
    with pytest.raises(BadLock):
        read_lock(data)


def test_a_promise_holds_while_nothing_changed() -> None:
    assert reason(lock_of(policy()), policy()) is None


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (policy(limit="8%"), "proved for 0.09"),
        (policy(reference="o3-mini"), "proved against gpt-4"),
        (policy(prefer="fastest"), "has changed"),
    ],
)
def test_a_change_voids_it(now: Policy, words: str) -> None:
    assert words in (reason(lock_of(policy()), now) or "")


@pytest.mark.parametrize("bound", [0.2, nan])
def test_a_bound_above_the_limit_promises_nothing(bound: float) -> None:
    lock = msgspec.structs.replace(lock_of(policy()), bound=bound)
    assert "above the limit" in (reason(lock, policy()) or "")


def applied(
    lock: Lock, made: Policy, model: str = "", suspended: Mapping[str, str] = {}
) -> Promises:
    return apply_lock(lock, made.routes, made.backends, model=model, suspended=suspended)


def test_routes_without_a_promise_and_lost_routes_are_told() -> None:
    made = policy()
    lock = Lock({"r": lock_of(made), "gone": lock_of(made), "default": lock_of(made)})
    found = applied(lock, made)
    assert set(found.certified) == {"r"}
    assert found.void == {
        "gone": "no such route",
        "default": "the route promises nothing any more",
    }


def test_a_route_that_was_never_calibrated_says_so() -> None:
    assert "never proved" in applied(Lock(), policy()).void["r"]


CALIBRATED = (
    "routes: {r: {candidates: [local], require: {error: {max: 9%, reference: gpt-4}},"
    " confidence: {from: [logprobs], accept: calibrated}, escalate: {to: gpt-4}},"
    " default: {candidates: [gpt-4]}}"
)


def test_the_proved_threshold_takes_the_place_of_calibrated() -> None:
    made = policy_of(CALIBRATED)
    found = applied(Lock({"r": lock_of(made)}), made)
    assert set(found.certified) == {"r"}
    assert found.void == {}
    rule = found.routes[0].confidence
    assert rule is not None
    assert (rule.accept, rule.model) == (0.8, "")
    assert found.routes[1] == made.routes[1]


def test_a_proof_for_the_reference_alone_certifies_nobody_else() -> None:
    made = policy_of(CALIBRATED)
    alone = msgspec.structs.replace(lock_of(made), accept=None)
    found = applied(Lock({"r": alone}), made)
    assert found.certified == {}
    assert found.void == {"r": "its labels prove it of the reference alone"}
    assert found.routes == made.routes


def test_a_proof_counts_with_the_model_it_was_made_of_and_with_no_other() -> None:
    made = policy_of(CALIBRATED)
    lock = Lock({"r": msgspec.structs.replace(lock_of(made), model="abc")})
    assert set(applied(lock, made, model="abc").certified) == {"r"}
    assert "model" in applied(lock, made, model="def").void["r"]
    assert "model" in applied(lock, made).void["r"]
    without = Lock({"r": lock_of(made)})
    assert set(applied(without, made, model="abc").certified) == {"r"}


def test_a_suspended_promise_gives_way_to_the_one_before() -> None:
    made = policy_of(CALIBRATED)
    former = msgspec.structs.replace(lock_of(made), accept=0.95)
    broken = {"r": "broken after 40 labels"}
    found = applied(Lock({"r": lock_of(made)}, {"r": former}), made, suspended=broken)
    assert found.certified == {"r": former}
    assert found.routes[0].confidence is not None
    assert found.routes[0].confidence.accept == 0.95


@pytest.mark.parametrize("former", [None, 0.5])
def test_without_one_that_holds_the_reference_answers(former: float | None) -> None:
    made = policy_of(CALIBRATED)
    lock = Lock({"r": lock_of(made)})
    if former is not None:
        lock = Lock(lock.routes, {"r": msgspec.structs.replace(lock_of(made), bound=former)})
    found = applied(lock, made, suspended={"r": "broken after 40 labels"})
    assert found.certified == {}
    assert found.void == {"r": "broken after 40 labels"}
    assert found.routes == made.routes
