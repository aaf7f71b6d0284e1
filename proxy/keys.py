"""Who may call: `keys.yaml` holds digests, a request brings a key, a caller's name comes out.

A key is `pm-` and 43 random characters. Kept are an HMAC-SHA256 digest under a pepper (a 0600
file beside `keys.yaml`) and the last four characters, so neither file alone says anything about
a key. Looking up a digest takes the same time for every wrong key: an attacker cannot steer the
HMAC, so the dictionary's comparison leaks nothing usable; the hit is confirmed in constant time.
"""

import fcntl
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pointsman.decoding import Findings, Section, text
from pointsman.document import TEXT_BYTES_MAX, ListNode, Node, Position, parse
from pointsman.errors import ConfigError, PointsmanError

KEY_PREFIX = "pm-"
KEY_BYTES_MAX = 256  # nothing longer is hashed; ours have 46
PEPPER_BYTES = 32


@dataclass(frozen=True, slots=True)
class Key:
    """One line of `keys.yaml`. `digest` is 64 hex digits, `created` an ISO date and time."""

    id: str
    caller: str
    digest: str
    last4: str
    created: str


class Keys:
    """All valid keys at one moment; asked once per request."""

    def __init__(self, keys: Iterable[Key], pepper: bytes) -> None:
        self._pepper = pepper
        self._by_digest = {bytes.fromhex(key.digest): key for key in keys}

    def __len__(self) -> int:
        return len(self._by_digest)

    def __repr__(self) -> str:
        return f"<Keys {len(self)}>"

    def caller_of(self, token: bytes) -> str | None:
        """The caller whose key `token` is, byte for byte; None for any other. About 2 us."""
        if not token or len(token) > KEY_BYTES_MAX:
            return None
        digest = hmac.digest(self._pepper, token, "sha256")
        key = self._by_digest.get(digest)
        if key is None or not hmac.compare_digest(bytes.fromhex(key.digest), digest):
            return None
        return key.caller


class KeyFileError(PointsmanError):
    """The key store cannot be used; the message says which file and what to do."""


def pepper_path(keys_file: Path) -> Path:
    """`keys.yaml` -> `keys.pepper`."""
    return keys_file.with_suffix(".pepper")


def read_keys_text(keys_file: Path) -> str:
    """The content of `keys.yaml`; empty where there is none yet. Raises KeyFileError."""
    try:
        return keys_file.read_text("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{keys_file}: cannot be read: {error}") from error


def keys_from_text(content: str, keys_file: Path) -> Keys:
    """Keys and pepper. Without any key every call is refused, and no pepper is needed.

    Raises ConfigError with positions for a bad text, KeyFileError for an unsafe pepper.
    """
    keys = parse_keys(content, file=str(keys_file))
    if not keys:
        return Keys((), secrets.token_bytes(PEPPER_BYTES))
    return Keys(keys, read_pepper(pepper_path(keys_file)))


def load_keys(keys_file: Path) -> Keys:
    """`read_keys_text` and `keys_from_text` in one."""
    return keys_from_text(read_keys_text(keys_file), keys_file)


def parse_keys(content: str, *, file: str) -> list[Key]:
    """The keys in file order; ids and digests are unique. Raises ConfigError with positions."""
    if not content.strip().strip("[]"):
        return []
    findings = Findings()
    node = parse(content, file)
    if not isinstance(node, ListNode):
        findings.error(node.at, "expected a list of keys")
        findings.raise_if_any()
    keys: list[Key] = []
    seen: dict[str, Position] = {}
    for item in node.items if isinstance(node, ListNode) else ():
        key = _decode_key(item, findings)
        for value in (key.id, key.digest):
            if value in seen:
                findings.error(item.at, f"the same key as on line {seen[value].line}")
            seen[value] = item.at
        keys.append(key)
    findings.raise_if_any()
    return keys


def read_pepper(path: Path) -> bytes:
    """The pepper's bytes. Raises KeyFileError if it is missing, short or readable by others."""
    try:
        mode = path.stat().st_mode
        pepper = path.read_bytes()
    except OSError as error:
        raise KeyFileError(
            f"{path}: the pepper that belongs to the keys cannot be read: {error}"
        ) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyFileError(
            f"{path}: others may read this secret (mode {stat.S_IMODE(mode):04o}); chmod 600 it"
        )
    if len(pepper) < PEPPER_BYTES:
        raise KeyFileError(f"{path}: shorter than {PEPPER_BYTES} bytes")
    return pepper


def create_key(keys_file: Path, *, caller: str, now: datetime) -> tuple[Key, str]:
    """Add a key for `caller`; returns its line and the key itself, which is kept nowhere."""
    key, secret = _new_key(_pepper_for(keys_file), caller, now)
    with _one_writer(keys_file):
        write_keys(keys_file, [*read_existing(keys_file), key])
    return key, secret


def revoke_key(keys_file: Path, key_id: str) -> Key:
    """Remove one key. Raises KeyFileError if there is none of that id."""
    with _one_writer(keys_file):
        keys = read_existing(keys_file)
        key = _find(keys, key_id, keys_file)
        write_keys(keys_file, [other for other in keys if other is not key])
    return key


def rotate_key(keys_file: Path, key_id: str, *, now: datetime) -> tuple[Key, Key, str]:
    """Put a new key of the same caller in an old one's place: old line, new line, new key."""
    pepper = _pepper_for(keys_file)
    with _one_writer(keys_file):
        keys = read_existing(keys_file)
        old = _find(keys, key_id, keys_file)
        key, secret = _new_key(pepper, old.caller, now)
        write_keys(keys_file, [key if other is old else other for other in keys])
    return old, key, secret


def write_keys(keys_file: Path, keys: Iterable[Key]) -> None:
    """Replace `keys.yaml` in one step (0600), so a reader sees the old file or the new one."""
    lines = ["# Written by `pointsman key`. Digests only: a lost key cannot be recovered.\n"]
    lines.extend(
        f"- {{id: {key.id}, caller: {_quoted(key.caller)}, digest: {_quoted(key.digest)}, "
        f"last4: {_quoted(key.last4)}, created: {_quoted(key.created)}}}\n"
        for key in keys
    )
    if len(lines) == 1:
        lines.append("[]\n")
    content = "".join(lines).encode()
    if len(content) > TEXT_BYTES_MAX:
        raise KeyFileError(f"{keys_file}: would grow beyond {TEXT_BYTES_MAX} bytes; revoke some")
    write_private(keys_file, content)


def write_private(path: Path, content: bytes) -> None:
    """Write aside (0600), fsync, rename: atomic and durable."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _new_key(pepper: bytes, caller: str, now: datetime) -> tuple[Key, str]:
    secret = KEY_PREFIX + secrets.token_urlsafe(32)
    key = Key(
        id=f"key_{secrets.token_hex(4)}",
        caller=caller,
        digest=hmac.digest(pepper, secret.encode(), "sha256").hex(),
        last4=secret[-4:],
        created=now.astimezone(UTC).isoformat(timespec="seconds"),
    )
    return key, secret


def _find(keys: Iterable[Key], key_id: str, keys_file: Path) -> Key:
    for key in keys:
        if key.id == key_id:
            return key
    raise KeyFileError(f"{keys_file}: no key with the id {key_id!r}")


def _decode_key(node: Node, findings: Findings) -> Key:
    section = Section(node, findings, "the key")
    section.require("id", "caller", "digest", "last4", "created")
    key = Key(
        id=section.read("id", text, ""),
        caller=section.read("caller", text, ""),
        digest=section.read("digest", _digest, ""),
        last4=section.read("last4", text, ""),
        created=section.read("created", text, ""),
    )
    section.done()
    return key


def _digest(node: Node) -> str:
    value = text(node)
    try:
        is_digest = len(bytes.fromhex(value)) == hashlib.sha256().digest_size
    except ValueError:
        is_digest = False
    if not is_digest:
        raise ValueError("expected 64 hex digits (HMAC-SHA256)")
    return value.lower()


def read_existing(keys_file: Path) -> list[Key]:
    """The keys of a file that may not exist yet. Raises KeyFileError if it cannot be read."""
    try:
        return parse_keys(read_keys_text(keys_file), file=str(keys_file))
    except ConfigError as error:
        raise KeyFileError(str(error)) from error


def _pepper_for(keys_file: Path) -> bytes:
    """The pepper, made on first use. One is never made where keys already depend on another."""
    path = pepper_path(keys_file)
    if path.exists() or read_existing(keys_file):
        return read_pepper(path)
    write_private(path, secrets.token_bytes(PEPPER_BYTES))
    return read_pepper(path)


@contextmanager
def _one_writer(keys_file: Path) -> Iterator[None]:
    """Two `pointsman key` at once must not lose each other's line."""
    descriptor = os.open(keys_file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
