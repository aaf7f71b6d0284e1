"""What the keeper and the workers tell each other, and how it is framed.

A worker connects to the keeper's unix socket and says who it is; from then on both sides send
whenever they have news. Nothing here is waited for by a request: a worker without a keeper
serves with what it knows and connects again when the keeper is back.

    frame = length (u32, little endian) + msgpack of one message

worker -> keeper: Hello, Report, ReloadDone, Question, Standing, ProbeWanted, Conversations.
keeper -> worker: Reload, LearnedState, Answer, Standing, ProbeAnswer, CanaryArms, Suspended,
                  Conversations.
"""

import asyncio
import struct
from typing import Literal

import msgspec

from adapters.standing import Standing
from policies.canary_run import Arm
from policies.sticky import Held
from telemetry.metrics import Labels

FRAME_BYTES_MAX = 64 << 20  # a learned state of 1,000 tasks is a few MB
_LENGTH = struct.Struct("<I")

CounterRow = tuple[str, Labels, float]
"""One entry of `Counters` on the wire."""


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="hello"):
    """The first message of every connection. `generation` is that of the worker's config."""

    worker: int
    pid: int
    generation: int


class Report(msgspec.Struct, frozen=True, array_like=True, tag="report"):
    """A worker's counters since its start and its state (JSON), every half second."""

    counters: list[CounterRow]
    state: bytes


class ReloadDone(msgspec.Struct, frozen=True, array_like=True, tag="reloaded"):
    """The worker now runs `generation`, or could not: `error` says why."""

    generation: int
    error: str | None = None


class Reload(msgspec.Struct, frozen=True, array_like=True, tag="reload"):
    """A new configuration lies in the data directory: take it up if it is newer than yours."""

    generation: int


class LearnedState(msgspec.Struct, frozen=True, array_like=True, tag="learned"):
    """`policies.learned.Learned` as bytes; replaces what the worker had."""

    data: bytes


class Question(msgspec.Struct, frozen=True, array_like=True, tag="question"):
    """About something answered earlier, maybe by another worker; see `lookup.py`."""

    number: int
    about: Literal["decision", "response"]
    id: str
    caller: str | None


class Answer(msgspec.Struct, frozen=True, array_like=True, tag="answer"):
    """JSON of what was found, `null` where there is nothing; None: it could not be looked up."""

    number: int
    found: bytes | None


class ProbeWanted(msgspec.Struct, frozen=True, array_like=True, tag="probe?"):
    """The worker would try `backend` again, whose pause is over."""

    backend: str


class ProbeAnswer(msgspec.Struct, frozen=True, array_like=True, tag="probe"):
    """Whether it may, with one request; see `shared_health.py`."""

    backend: str
    is_granted: bool


class CanaryArms(msgspec.Struct, frozen=True, array_like=True, tag="canaries"):
    """What becomes of canaries, by route; all there are. See `canary_sides.py`."""

    arms: dict[str, Arm]


class Suspended(msgspec.Struct, frozen=True, array_like=True, tag="suspended"):
    """Which proofs are refuted, and how, by route and proof; all there are. See `promises.py`."""

    refuted: dict[str, dict[str, str]]


class Conversations(msgspec.Struct, frozen=True, array_like=True, tag="conversations"):
    """What these conversations stay with from now on; see `sticking.py`."""

    entries: list[tuple[bytes, Held]]


FromWorker = Hello | Report | ReloadDone | Question | Standing | ProbeWanted | Conversations
FromKeeper = (
    Reload | LearnedState | Answer | Standing | ProbeAnswer | CanaryArms | Suspended | Conversations
)

_encoder = msgspec.msgpack.Encoder()
_from_worker = msgspec.msgpack.Decoder(FromWorker)
_from_keeper = msgspec.msgpack.Decoder(FromKeeper)


class ControlError(Exception):
    """The other side sent something that is not this protocol; the connection is of no use."""


def encode(message: FromWorker | FromKeeper) -> bytes:
    """One message as one frame."""
    payload = _encoder.encode(message)
    return _LENGTH.pack(len(payload)) + payload


async def read_from_worker(reader: asyncio.StreamReader) -> FromWorker | None:
    """The next message, or None at the end of the connection. Raises ControlError."""
    payload = await _read_frame(reader)
    if payload is None:
        return None
    try:
        message: FromWorker = _from_worker.decode(payload)
    except msgspec.MsgspecError as error:
        raise ControlError(str(error)) from error
    return message


async def read_from_keeper(reader: asyncio.StreamReader) -> FromKeeper | None:
    """The next message, or None at the end of the connection. Raises ControlError."""
    payload = await _read_frame(reader)
    if payload is None:
        return None
    try:
        message: FromKeeper = _from_keeper.decode(payload)
    except msgspec.MsgspecError as error:
        raise ControlError(str(error)) from error
    return message


async def _read_frame(reader: asyncio.StreamReader) -> bytes | None:
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > FRAME_BYTES_MAX:
            raise ControlError(f"a frame of {length} bytes; at most {FRAME_BYTES_MAX}")
        return await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
