"""What a data set is made of: the specification, and its name in the world. Pure."""

import hashlib
import re
from typing import Final, NamedTuple

import msgspec

from pointsman.errors import PointsmanError

from .captured import Selection
from .example import Rules, encode_canonical

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class DatasetError(PointsmanError):
    """The data set is not there, or cannot be made; the message says what to do."""


class SplitRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """Shares of the groups; the rest is `train`."""

    valid: float = 0.05
    test: float = 0.10
    salt: str = "pointsman"
    holdout_days: float = 0.0
    """Rows of the last days, of groups that are in nothing older."""


class DatasetSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything a build depends on besides the captures and labels."""

    selection: Selection = Selection()
    rules: Rules = Rules()
    split: SplitRule = SplitRule()
    redact: bool = True
    fetch_images: bool = False
    """False: a row with an image by its address is left out."""
    prune_prefix: bool = False
    tokens_max: int | None = None
    tokenizer_sha256: str | None = None
    """None: tokens are estimated."""
    duplicate_similarity: float = 0.8
    """Nearly the same question with the same answer: one is kept."""
    group_similarity: float = 0.7
    """Nearly the same question: on one side of the split."""

    @property
    def hash(self) -> str:
        """sha256 of its canonical JSON."""
        return hashlib.sha256(encode_canonical(self)).hexdigest()


class DatasetName(NamedTuple):
    """`NAME@V`; without a version the newest."""

    name: str
    version: int | None = None

    @property
    def id(self) -> str:
        """As it is written."""
        return self.name if self.version is None else f"{self.name}@{self.version}"


def parse_name(text: str) -> DatasetName:
    """`extract` or `extract@3`. Raises DatasetError."""
    name, at, version = text.partition("@")
    if not NAME.fullmatch(name) or (at and not re.fullmatch(r"[1-9]\d{0,8}", version)):
        raise DatasetError(f"{text!r} is no data set's name; write NAME or NAME@2")
    return DatasetName(name, int(version) if at else None)
