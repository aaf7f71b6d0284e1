"""Secrets: named in the file (`{env: NAME}` or `{file: PATH}`), never written in it.

A `Secret` hides its value from `repr`, logs and `/config`; only `reveal()` gives it away.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pointsman.decoding import Findings, Section, text
from pointsman.document import MapNode, Node

SECRET_BYTES_MAX = 64 * 1024

_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Secret:
    """A value nobody should see by accident. `source` says where it came from."""

    value: str = field(repr=False)
    source: str

    def reveal(self) -> str:
        """The value itself; for the wire only."""
        return self.value


def decode_secret(
    node: Node,
    what: str,
    *,
    findings: Findings,
    directory: Path,
    environment: Mapping[str, str],
) -> Secret | None:
    """Resolve `{env: NAME}` or `{file: PATH}` (relative to `directory`).

    None where it cannot be resolved: an unset name or a missing file is a warning, so a file
    can be checked on a machine that has none of the keys; a literal is an error.
    """
    if not isinstance(node, MapNode):
        findings.error(
            node.at, f"{what} must not stand in the file; write {{env: NAME}} or {{file: PATH}}"
        )
        return None
    section = Section(node, findings, what)
    name = section.read("env", text)
    path = section.read("file", text)
    section.done()
    if ("env" in section) == ("file" in section):
        findings.error(node.at, f"{what} needs either 'env' or 'file'")
        return None
    if name is not None:
        return _from_environment(section, name, environment)
    return None if path is None else _from_file(section, directory / path)


def _from_environment(section: Section, name: str, environment: Mapping[str, str]) -> Secret | None:
    if not _ENVIRONMENT_NAME.fullmatch(name):
        section.findings.error(
            section.at_key("env"),
            f"{section.what}: 'env' is the name of an environment variable, not the secret itself",
        )
        return None
    value = environment.get(name, "").strip()
    if not value:
        section.findings.warn(section.at_key("env"), f"{section.what}: {name} is not set")
        return None
    return _checked(section, "env", Secret(value, f"env {name}"))


def _from_file(section: Section, path: Path) -> Secret | None:
    try:
        with path.open("rb") as opened:
            raw = opened.read(SECRET_BYTES_MAX)
        value = raw.decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        section.findings.warn(
            section.at_key("file"), f"{section.what}: cannot read {path}: {reason}"
        )
        return None
    if not value:
        section.findings.warn(section.at_key("file"), f"{section.what}: {path} is empty")
        return None
    return _checked(section, "file", Secret(value, f"file {path}"))


def _checked(section: Section, key: str, secret: Secret) -> Secret | None:
    """Refuse what cannot stand in a header (RFC 9110 section 5.5): it would split one."""
    if secret.value.isascii() and secret.value.isprintable():
        return secret
    section.findings.error(
        section.at_key(key), f"{section.what}: the value holds characters no header may carry"
    )
    return None
