"""A configuration file small enough to vary in a test."""

from pathlib import Path

SIMPLE = """\
listen: 127.0.0.1:0
admin: 127.0.0.1:0
backends:
  quick: {adapter: simulated, profile: {like: local, speed: 1000}}
  other: {adapter: simulated, profile: {like: gpt-4, speed: 1000}}
routes:
  default: {candidates: [quick]}
"""


def write_config(directory: Path, text: str = SIMPLE) -> Path:
    """Write `config.yaml`; its data goes to `data` beside it."""
    path = directory / "config.yaml"
    path.write_text(text)
    return path
