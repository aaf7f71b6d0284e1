"""The lock beside the configuration: in force, void with its reason, suspended, unreadable."""

from pathlib import Path

from policies.lock import Lock, RouteLock, route_digest, write_lock
from proxy.configuration import Configuration, load_configuration
from proxy.locked import in_force, lock_path, promises_json
from tests.support.simple_config import SIMPLE, write_config

PROMISING = SIMPLE.replace(
    "default: {candidates: [quick]}",
    "default:\n    candidates: [quick]\n    require: {error: {max: 9%, reference: other}}\n"
    "    confidence: {from: [logprobs], accept: calibrated}\n    escalate: {to: other}",
)


def promising(directory: Path) -> Path:
    """A configuration that promises something, not proved yet."""
    return write_config(directory, PROMISING)


def prove(
    config: Path, *, accept: float | None = 0.7, route: str = "default", model: str = ""
) -> RouteLock:
    """Write the lock that `calibrate` would."""
    written = load_configuration(config).written
    proof = RouteLock(
        accept, 0.09, 0.95, "other", 200, 3, 0.04, route_digest(written.default, written.backends),
        "labels", model,
    )  # fmt: skip
    lock_path(config).write_bytes(write_lock(Lock({route: proof})))
    return proof


def messages(configuration: Configuration) -> list[str]:
    return [f"{one.line}: {one.message}" for one in configuration.warnings]


def test_a_proof_beside_the_configuration_is_in_force(tmp_path: Path) -> None:
    config = promising(tmp_path)
    proof = prove(config)
    found = load_configuration(config)
    assert found.promises.certified == {"default": proof}
    rule = found.policy.default.confidence
    assert rule is not None
    assert rule.accept == 0.7
    assert found.written.default.confidence is not None
    assert found.written.default.confidence.accept == "calibrated"
    assert found.policy.digest != found.written.digest
    assert not any("promise" in message for message in messages(found))
    state = promises_json(found)["default"]
    assert isinstance(state, dict)
    assert (state["certified"], state["accept"], state["labels"]) == (True, 0.7, 200)


def test_a_promise_that_was_never_proved_is_warned_about_where_it_stands(tmp_path: Path) -> None:
    found = load_configuration(promising(tmp_path))
    (warning,) = [one for one in messages(found) if "no promise in force" in one]
    assert warning.startswith("9: route 'default'")
    assert warning.endswith("the reference other answers")
    assert found.policy is found.written
    assert "pointsman calibrate" in found.promises.void["default"]


def test_a_changed_route_voids_the_proof_and_says_why(tmp_path: Path) -> None:
    config = promising(tmp_path)
    prove(config)
    config.write_text(PROMISING.replace("[quick]", "[quick, other]"))
    found = load_configuration(config)
    assert found.promises.certified == {}
    assert any("has changed" in message for message in messages(found))
    assert promises_json(found)["default"] == {
        "certified": False,
        "reason": "the route or one of its backends has changed",
    }


def test_a_proof_of_a_route_that_is_gone_is_told_in_the_locks_name(tmp_path: Path) -> None:
    config = promising(tmp_path)
    prove(config, route="gone")
    warnings = [one for one in load_configuration(config).warnings if "gone" in one.message]
    assert [one.file for one in warnings] == [str(tmp_path / "config.lock.json")]


def test_a_lock_that_cannot_be_read_promises_nothing_and_stops_nothing(tmp_path: Path) -> None:
    config = promising(tmp_path)
    lock_path(config).write_text('{"routes": {"def')
    found = load_configuration(config)
    assert found.promises.void == {"default": "its lock cannot be read"}
    assert any("not a lock" in message for message in messages(found))


def test_a_lock_that_is_a_folder_is_told_too(tmp_path: Path) -> None:
    config = promising(tmp_path)
    lock_path(config).mkdir()
    assert any("not a lock" in message for message in messages(load_configuration(config)))


def test_suspending_and_taking_it_back(tmp_path: Path) -> None:
    config = promising(tmp_path)
    prove(config)
    found = load_configuration(config)
    without = in_force(found, {"default": "broken after 40 labels"})
    assert without.promises.void == {"default": "broken after 40 labels"}
    assert without.policy.digest == found.written.digest
    assert in_force(without, {}).policy.digest == found.policy.digest
