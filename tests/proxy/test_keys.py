"""Keys: what is kept of them, who gets in, and how the file is changed."""

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pointsman.errors import ConfigError
from proxy.keys import (
    KEY_BYTES_MAX,
    KeyFileError,
    create_key,
    keys_from_text,
    load_keys,
    parse_keys,
    pepper_path,
    read_existing,
    revoke_key,
    rotate_key,
)

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


def test_a_created_key_names_its_caller(keys_file: Path) -> None:
    key, secret = create_key(keys_file, caller="billing: 'app'", now=NOW)
    assert secret.startswith("pm-")
    assert load_keys(keys_file).caller_of(secret.encode()) == "billing: 'app'"
    assert key.created == "2026-11-01T12:00:00+00:00"


@pytest.mark.parametrize(
    "change",
    [
        lambda key: key[:20],
        lambda key: key[:20] + "x" * (len(key) - 20),
        lambda key: key.swapcase(),
        lambda key: key + " ",
        lambda key: " " + key,
        lambda key: key + "\n",
        lambda key: key.replace("p", "р", 1),  # Cyrillic
        lambda key: "",
        lambda key: key * (KEY_BYTES_MAX // len(key) + 1),
    ],
)
def test_anything_but_the_exact_key_is_nobody(keys_file: Path, change: object) -> None:
    _, secret = create_key(keys_file, caller="app", now=NOW)
    assert callable(change)
    assert load_keys(keys_file).caller_of(change(secret).encode()) is None


def test_no_key_stands_in_the_files_and_nobody_else_may_read_them(keys_file: Path) -> None:
    _, secret = create_key(keys_file, caller="app", now=NOW)
    for path in (keys_file, pepper_path(keys_file)):
        assert secret.encode() not in path.read_bytes()
        assert secret[3:20].encode() not in path.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret[-4:] in keys_file.read_text()


def test_a_missing_file_lets_nobody_in(keys_file: Path) -> None:
    keys = load_keys(keys_file)
    assert len(keys) == 0
    assert keys.caller_of(b"pm-anything") is None


def test_a_revoked_key_is_worth_nothing_and_others_stay(keys_file: Path) -> None:
    first, first_secret = create_key(keys_file, caller="one", now=NOW)
    _, second_secret = create_key(keys_file, caller="two", now=NOW)
    revoke_key(keys_file, first.id)
    keys = load_keys(keys_file)
    assert keys.caller_of(first_secret.encode()) is None
    assert keys.caller_of(second_secret.encode()) == "two"


def test_revoking_the_last_key_leaves_a_file_that_loads(keys_file: Path) -> None:
    key, _ = create_key(keys_file, caller="one", now=NOW)
    revoke_key(keys_file, key.id)
    assert read_existing(keys_file) == []
    with pytest.raises(KeyFileError, match=key.id):
        revoke_key(keys_file, key.id)


def test_rotating_keeps_the_caller_and_its_place(keys_file: Path) -> None:
    first, first_secret = create_key(keys_file, caller="one", now=NOW)
    create_key(keys_file, caller="two", now=NOW)
    old, new, secret = rotate_key(keys_file, first.id, now=NOW)
    assert (old.id, new.caller) == (first.id, "one")
    assert read_existing(keys_file)[0].id == new.id
    keys = load_keys(keys_file)
    assert keys.caller_of(first_secret.encode()) is None
    assert keys.caller_of(secret.encode()) == "one"


def test_refuses_a_pepper_others_can_read(keys_file: Path) -> None:
    create_key(keys_file, caller="app", now=NOW)
    pepper_path(keys_file).chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        load_keys(keys_file)


def test_never_makes_a_new_pepper_for_old_keys(keys_file: Path) -> None:
    create_key(keys_file, caller="app", now=NOW)
    pepper_path(keys_file).unlink()
    with pytest.raises(KeyFileError, match="pepper"):
        create_key(keys_file, caller="other", now=NOW)


def test_the_same_key_under_another_pepper_is_nobody(keys_file: Path) -> None:
    _, secret = create_key(keys_file, caller="app", now=NOW)
    text = keys_file.read_text()
    pepper_path(keys_file).write_bytes(b"x" * 32)
    assert keys_from_text(text, keys_file).caller_of(secret.encode()) is None


LINE = "{id: k, caller: app, digest: DIGEST, last4: abcd, created: '2026'}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "expected a list"),
        ("- {id: k}", "needs 'caller'"),
        (f"- {LINE}", "64 hex digits"),
        (f"- {LINE.replace('DIGEST', 'ab' * 32).replace('}', ', role: admin}')}", "unknown key"),
        (f"- {LINE.replace('DIGEST', 'ab' * 32)}\n" * 2, "same key as on line 1"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_keys(text, file="keys.yaml")
    assert str(caught.value).startswith("keys.yaml:")
