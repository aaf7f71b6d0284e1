"""`pointsman explain`."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from .options import config_option, json_option, read_config
from .output import milliseconds, printable, share, table, usd

if TYPE_CHECKING:
    from policies.fitted import Fitted
    from policies.learned import Learned


@click.command("explain", short_help="Show where a request would go, and why.")
@config_option
@click.option(
    "--request",
    type=click.File("rb"),
    default="-",
    show_default=True,
    help="A chat request's body; - is standard input.",
)
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="As a header's label.")
@click.option(
    "--state", metavar="DIR|empty", help="Learned state; default: the config's directory."
)
@json_option
def command(
    config: Path, request: Any, labels: tuple[str, ...], state: str | None, as_json: bool
) -> None:
    """Show which backend a request would go to, why, and what would have changed that.

    Nothing is sent anywhere.

    \b
    Example:
      echo '{"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}' \\
        | pointsman explain
    """
    configuration = read_config(config)
    directory = configuration.capture.directory
    learned, fitted = read_learned(state, directory), read_models(state, directory)
    found = _explain(configuration, request.read(), _labels(labels), learned, fitted)
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        show(found)


def _explain(
    configuration: Any,
    body: bytes,
    labels: Mapping[str, str],
    learned: "Learned",
    fitted: "Fitted",
) -> dict[str, Any]:
    from policies.choice import World
    from policies.counterfactual import Question, change_json, changes
    from policies.decide import decide
    from policies.explain import decision_json
    from policies.features import parse_chat, prompt_text, read_features
    from policies.request import RequestError
    from telemetry.ids import new_id

    try:
        parsed = parse_chat(body)
    except RequestError as error:
        raise click.UsageError(f"the request cannot be read: {error.message}") from None
    features = read_features(
        parsed,
        body_bytes=len(body),
        label_headers=labels,
        conversation_header=None,
        caller=None,
    )
    policy, promises = configuration.policy, configuration.promises
    match = policy.route_for(features.model, features.labels)
    if match is None:
        raise click.UsageError(f"{printable(features.model or '')!r} is no model this config knows")
    world = World(learned, certified=frozenset(promises.certified), void=promises.void)
    chances = fitted.acceptable(prompt_text(parsed), features.task)
    decision = decide(
        policy,
        match,
        features,
        world,
        decision_id=new_id(),
        seed=secrets.randbits(32),
        acceptable=chances,
    )
    others = changes(Question(policy, match, features, world, chances))
    return {**decision_json(decision), "changes": [change_json(change) for change in others]}


def show(found: Mapping[str, Any]) -> None:
    """A decision as a table with its reason above; below, what may follow, and what would have
    changed it."""
    click.echo(f"route {found['route']} -> {found['chosen'] or 'refused'}")
    click.echo(found["reason"])
    rows = [
        (
            candidate["backend"],
            "yes" if candidate["eligible"] else "no",
            usd(candidate["cost_usd"]),
            milliseconds(candidate["latency_ms"]["p50"]),
            milliseconds(candidate["latency_ms"]["p95"]),
            share(candidate["latency_p_within"]),
            share(candidate["p_acceptable"]),
        )
        for candidate in found["candidates"]
    ]
    columns = ("backend", "eligible", "cost", "p50 ms", "p95 ms", "in time", "right")
    table("Candidates", columns, rows)
    for candidate in found["candidates"]:
        click.echo(f"{candidate['backend']}: {candidate['reason']}")
    for step in found["plan"]:
        when = "first" if step["condition"] == "first" else "then"
        reason = "" if when == "first" else f": {step['condition']}"
        click.echo(f"{when} {step['step']} {step['backend']}{reason}")
    for change in found["changes"]:
        click.echo(f"{change['chosen']} would be chosen with {change['words']}")


def read_learned(state: str | None, directory: Path) -> "Learned":
    """What is learned in a folder; nothing where it holds none or `state` is `empty`."""
    from policies.learned import Learned
    from telemetry.fold import LEARNED_NAME
    from telemetry.learning_store import load_learned

    if state == "empty":
        return Learned()
    data = load_learned(Path(state) if state else directory, LEARNED_NAME)
    return Learned() if data is None else Learned.from_bytes(data)


def read_models(state: str | None, directory: Path) -> "Fitted":
    """What is fitted in a folder; nothing where it holds none or `state` is `empty`."""
    from policies.fitted import NOTHING_FITTED
    from proxy.fitting import load_models_now

    if state == "empty":
        return NOTHING_FITTED
    return load_models_now(Path(state) if state else directory)


def _labels(given: tuple[str, ...]) -> dict[str, str]:
    labels = {}
    for label in given:
        name, equals, value = label.partition("=")
        if not equals or not name:
            raise click.UsageError(f"--label {label!r}: write NAME=VALUE")
        labels[name.lower()] = value
    return labels
