"""The lock beside the configuration, and what it makes of it: which promises are in force.

`pointsman calibrate` writes `config.lock.json` beside `config.yaml`. It is read wherever the
configuration is, and is kept with it in `active.json`, so that a worker that starts later has
the same promises. A lock that cannot be read promises nothing: the references answer.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pointsman.document import MapNode, Node, Position, parse
from pointsman.errors import Problem
from policies.lock import NO_SUCH_ROUTE, BadLock, Lock, Promises, apply_lock, read_lock
from policies.policy import Policy

if TYPE_CHECKING:
    from .configuration import Configuration

LOCK_SUFFIX = ".lock.json"
UNREADABLE = "its lock cannot be read"


def lock_path(config: Path) -> Path:
    """Where the lock of a configuration stands."""
    return config.with_name(config.stem + LOCK_SUFFIX)


def read_lock_text(config: Path) -> str | None:
    """The lock of a configuration as it stands in its file; None where there is none."""
    try:
        return lock_path(config).read_text("utf-8", "replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"cannot be read: {error}"  # which is no lock either


def with_lock(
    configuration: "Configuration", text: str | None, *, model: str = ""
) -> "Configuration":
    """The configuration with the promises of a lock in force, and warnings of those that are not.

    `model` is the digest of what was fitted last.
    """
    lock, problems = Lock(), []
    if text is not None:
        try:
            lock = read_lock(text.encode("utf-8", "replace"))
        except BadLock as error:
            path = str(lock_path(configuration.file))
            problems.append(Problem(path, 1, 1, f"{error}; run `pointsman calibrate` again"))
    made = in_force(replace(configuration, lock=lock, model=model), {})
    if problems:
        void = {
            name: reason if name in lock.routes else UNREADABLE
            for name, reason in made.promises.void.items()
        }
        made = replace(made, promises=Promises(made.promises.routes, {}, void))
    problems += _void_promises(made)
    return replace(made, warnings=tuple(sorted((*configuration.warnings, *problems))))


def in_force(
    configuration: "Configuration",
    suspended: Mapping[str, str],
    *,
    without_former: Collection[str] = (),
) -> "Configuration":
    """The same lock, less the promises that are `suspended`: why, by route. `without_former`
    names routes whose former promise does not count either."""
    written, lock = configuration.written, configuration.lock
    if without_former:
        former = {name: one for name, one in lock.former.items() if name not in without_former}
        lock = msgspec.structs.replace(lock, former=former)
    promises = apply_lock(
        lock,
        written.routes,
        written.backends,
        model=configuration.model,
        suspended=suspended,
    )
    policy = configuration.written
    if promises.routes != written.routes:
        policy = Policy(promises.routes, written.backends, written.checks)
    return replace(configuration, policy=policy, promises=promises)


def promises_json(configuration: "Configuration") -> dict[str, object]:
    """By route, for `/state`: what is promised and proved, or why nothing is."""
    found: dict[str, object] = {
        name: {
            "certified": True,
            "accept": proof.accept,
            "max": proof.max,
            "confidence": proof.confidence,
            "bound": proof.bound,
            "labels": proof.labels,
            "errors": proof.errors,
            "reference": proof.reference,
        }
        for name, proof in configuration.promises.certified.items()
    }
    for name, reason in configuration.promises.void.items():
        found[name] = {"certified": False, "reason": reason}
    return found


def _void_promises(configuration: "Configuration") -> list[Problem]:
    """A warning for every promise that is not in force, where it stands."""
    void = configuration.promises.void
    if not void:
        return []
    references = {
        route.name: route.require.error.reference
        for route in configuration.written.routes
        if route.require.error is not None
    }
    root = parse(configuration.text, str(configuration.file))
    return [
        _problem(configuration, root, name, reason, references.get(name))
        for name, reason in void.items()
    ]


def _problem(
    configuration: "Configuration", root: Node, name: str, reason: str, reference: str | None
) -> Problem:
    if reference is None:
        path = str(lock_path(configuration.file))
        said = reason if reason == NO_SUCH_ROUTE else f"void: {reason}"
        return Problem(path, 1, 1, f"the promise of route {name!r}: {said}")
    at = _place_of(root, configuration.file, name)
    said = f"route {name!r} has no promise in force ({reason}): the reference {reference} answers"
    return at.problem(said)


def _place_of(root: Node, file: Path, route: str) -> Position:
    """Where `require.error` of a route stands."""
    node, at = root, Position(str(file), 1, 1)
    for key in ("routes", route, "require", "error"):
        if not isinstance(node, MapNode) or key not in node.items:
            break
        at = node.keys.get(key, at)
        node = node.items[key]
    return at
