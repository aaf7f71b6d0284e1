"""Physical units as operators write them, turned into floats of one base unit.

Durations become seconds, money US dollars, shares a number 0..1, sizes bytes. A unit is
always required where leaving it out could be misread: `200` is not a duration.
"""

import math
import re

_NUMBER = r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
_DURATION = re.compile(rf"{_NUMBER}\s*(us|ms|s|m|h|d)")
_MONEY = re.compile(rf"\$\s*{_NUMBER}")
_PERCENT = re.compile(rf"([+-]?){_NUMBER}\s*%")
_POINTS = re.compile(rf"([+-]?){_NUMBER}\s*pp")
_SIZE = re.compile(rf"{_NUMBER}\s*(B|KB|MB|GB|KiB|MiB|GiB)?")
_QUANTILE = re.compile(r"p([0-9]{1,2}(?:\.[0-9]+)?)")

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    None: 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
}  # fmt: skip


def duration_s(text: str) -> float:
    """`200ms`, `1.5s`, `30d` -> seconds. ValueError says what is accepted."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write a number and us, ms, s, m, h or d")
    return _finite(float(match[1]) * _SECONDS[match[2]], text)


def money_usd(text: str) -> float:
    """`$0.004` -> dollars."""
    match = _MONEY.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not an amount; write dollars as $0.004")
    return _finite(float(match[1]), text)


def share(text: str) -> float:
    """`5%` -> 0.05; between 0 % and 100 %."""
    match = _PERCENT.fullmatch(text.strip())
    if match is None or match[1]:
        raise ValueError(f"{text!r} is not a share; write a percentage as 5%")
    value = float(match[2]) / 100
    if value > 1:
        raise ValueError(f"{text!r} is more than 100%")
    return value


def change(text: str) -> float:
    """`+0.5pp` -> 0.005 (percentage points), `+3%` -> 0.03 (relative); the sign is required."""
    match = _POINTS.fullmatch(text.strip()) or _PERCENT.fullmatch(text.strip())
    if match is None or not match[1]:
        raise ValueError(f"{text!r} is not a change; write +0.5pp (points) or +3% (relative)")
    return _finite(float(match[1] + match[2]) / 100, text)


def size_bytes(text: str) -> int:
    """`20MiB` -> bytes."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size; write 20MiB, 512KiB or a number of bytes")
    return int(_finite(float(match[1]) * _BYTES[match[2]], text))


def quantile(text: str) -> float:
    """`p95` -> 0.95; between p1 and p99.9."""
    match = _QUANTILE.fullmatch(text.strip())
    if match is None or not 1 <= float(match[1]) <= 99.9:
        raise ValueError(f"{text!r} is not a quantile; write p50, p90, p95, ...")
    return float(match[1]) / 100


def _finite(value: float, text: str) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is too large")
    return value
