"""How a backend stands, as a type: what workers tell each other.

Types alone, so that what keeps them (health.py) can be compiled.
"""

from typing import Literal

import msgspec

Pause = Literal["failing", "rate_limited", "no_quota", "credential_refused", "loading"]
State = Literal["ready", "half_open"] | Pause


class Standing(msgspec.Struct, frozen=True, array_like=True, tag="standing"):
    """What is known of a backend; workers tell each other. The latest `since_s` is the truth."""

    backend: str
    state: State = "ready"
    reason: str = ""
    since_s: float = 0.0
    until_s: float = 0.0
    outage_s: float = 0.0
    """When the outage began, for how long to leave it alone; 0 outside one."""
