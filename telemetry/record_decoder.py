"""Records decoded for the fold: what many of them share is decoded once.

Decisions of one kind of request carry the same candidates, byte for byte (see `Packer` in
proxy/recording.py). They come out as one and the same tuple here, so whoever writes rows may
treat them as one.
"""

from typing import Final

import msgspec
from msgspec.structs import force_setattr

from .record import CandidateRecord, PlanRecord, RequestRecord

_EMPTY: Final = msgspec.Raw(msgspec.msgpack.encode(()))


class _Packed(RequestRecord, frozen=True, array_like=True):
    """A record whose shared parts are still as they were written. Same fields, same order."""

    candidates: msgspec.Raw = _EMPTY  # type: ignore[assignment]
    plan: msgspec.Raw = _EMPTY  # type: ignore[assignment]


_decode: Final = msgspec.msgpack.Decoder(_Packed).decode
_decode_candidates: Final = msgspec.msgpack.Decoder(tuple[CandidateRecord, ...]).decode
_decode_plan: Final = msgspec.msgpack.Decoder(tuple[PlanRecord, ...]).decode


class RecordDecoder:
    """For one batch, which bounds what is remembered."""

    def __init__(self) -> None:
        self._candidates: dict[bytes, tuple[CandidateRecord, ...]] = {}
        self._plans: dict[bytes, tuple[PlanRecord, ...]] = {}

    def __call__(self, payload: memoryview) -> RequestRecord:
        """Raises msgspec.MsgspecError."""
        record = _decode(payload)
        raw = bytes(record.candidates)
        candidates = self._candidates.get(raw)
        if candidates is None:
            candidates = self._candidates[raw] = _decode_candidates(raw)
        raw = bytes(record.plan)
        plan = self._plans.get(raw)
        if plan is None:
            plan = self._plans[raw] = _decode_plan(raw)
        force_setattr(record, "candidates", candidates)
        force_setattr(record, "plan", plan)
        return record
