"""`pointsman key create|list|revoke|rotate`."""

import re
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from .options import config_option, json_option, read_config

_CALLER = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@+-]{0,63}")


@click.group("key", short_help="Make, show and withdraw keys.")
def command() -> None:
    """Make, show and withdraw the keys of those who may call.

    Only digests are kept. A running server takes changes up within a second.

    \b
    Example:
      pointsman key create --caller billing-app
      pointsman key list
    """


@command.command("create")
@config_option
@click.option("--caller", required=True, help="Who will use it; stands in every record.")
def create(config: Path, caller: str) -> None:
    """Make a key and print it: this once and never again.

    \b
    Example:
      pointsman key create --caller billing-app
    """
    from proxy.keys import create_key

    if not _CALLER.fullmatch(caller):
        raise click.UsageError("a caller's name is 1 to 64 letters, digits, spaces and ._@+-")
    key, secret = create_key(_keys_file(config), caller=caller, now=datetime.now(UTC))
    click.echo(f"{key.id} for {key.caller}; the key is shown only now:", err=True)
    click.echo(secret)


@command.command("list")
@config_option
@json_option
def list_keys(config: Path, as_json: bool) -> None:
    """Show ids, callers and the last four characters.

    \b
    Example:
      pointsman key list --json
    """
    from proxy.keys import read_existing

    from .output import table

    keys = read_existing(_keys_file(config))
    if as_json:
        for key in keys:
            line = {"id": key.id, "caller": key.caller, "last4": key.last4, "created": key.created}
            click.echo(msgspec.json.encode(line))
        return
    rows = [(key.id, key.caller, f"...{key.last4}", key.created) for key in keys]
    table("Keys", ("id", "caller", "key", "created"), rows)


@command.command("revoke")
@config_option
@click.argument("key_id")
def revoke(config: Path, key_id: str) -> None:
    """Withdraw a key.

    \b
    Example:
      pointsman key revoke key_1f0c2a7b
    """
    from proxy.keys import revoke_key

    key = revoke_key(_keys_file(config), key_id)
    click.echo(f"revoked {key.id} of {key.caller} (...{key.last4})")


@command.command("rotate")
@config_option
@click.argument("key_id")
def rotate(config: Path, key_id: str) -> None:
    """Replace a key by a new one of the same caller; the old one is worth nothing at once.

    \b
    Example:
      pointsman key rotate key_1f0c2a7b
    """
    from proxy.keys import rotate_key

    old, key, secret = rotate_key(_keys_file(config), key_id, now=datetime.now(UTC))
    click.echo(f"{key.id} replaces {old.id} of {old.caller}; shown only now:", err=True)
    click.echo(secret)


def _keys_file(config: Path) -> Path:
    path = read_config(config).keys_file
    if path is None:
        raise click.UsageError(
            f"{config} asks for no keys; add the line: keys: {{file: keys.yaml}}"
        )
    return path
