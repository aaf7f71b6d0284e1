"""Requests about an earlier request: its decision, and what its caller says about its answer.

    GET  /v1/decisions/ID   the decision, in the shape of `explain --json`, with its feedback
    POST /v1/feedback       {id, name, value?, demonstration?}: into the journal, then 200

Rules:
- Only the caller who asked may; any other id is unknown (404), whether it exists or not.
- Feedback is answered 200 once the journal has it, and 503 where that cannot be (also under
  `fail_open`: there is nothing else to serve). Who said it is written by us, never by the client.
- Feedback is its own record. It makes no capture, so data sets and spend do not count it.
- One keeper is asked about the id, see `lookup.py`; while it is away both answer 503.
"""

import asyncio
import re
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from telemetry.ids import milliseconds_of, new_id
from telemetry.logs import log
from telemetry.record import FeedbackRecord

from . import errors
from .downstream import DownstreamProtocol
from .errors import DownstreamError
from .heads import RequestHead
from .lookup import Unanswered
from .redacting import redacted_feedback
from .reply import DECISIONS_PREFIX, Reply

if TYPE_CHECKING:
    from .server import DataPlane

BODY_BYTES_MAX = 1 << 20
"""Of one feedback: a demonstration may be a long answer, not a document store."""
NAME_BYTES_MAX = 128
TEXT_BYTES_MAX = 16 << 10
"""Of a `value` that is text."""
SOURCE = "feedback"

Found = dict[str, Any] | DownstreamError


class AboutEarlier:
    """One such request: answered when the keeper, or the journal, has said what it must say."""

    keeps_body = True
    streams_body = False

    def __init__(
        self,
        plane: "DataPlane",
        client: DownstreamProtocol,
        head: RequestHead,
        caller: str | None,
    ) -> None:
        self._plane = plane
        self._head = head
        self._caller = caller
        self._reply = Reply(plane, client, head)

    def begin(self, body: bytes) -> None:
        """Ask; the connection's next request waits for the answer."""
        is_feedback = self._head.method == b"POST"
        work = self._take_feedback(body) if is_feedback else self._find_decision()
        self._plane.lookup.start("about earlier", self._serve(work))

    def refuse(self, error: DownstreamError) -> None:
        """Answer with an error."""
        self._reply.refuse(error)

    def client_gone(self) -> None:
        """What it said is kept all the same; the answer goes nowhere."""

    def pause(self) -> None:
        """An answer here is small."""

    def resume(self) -> None:
        """Nothing was paused."""

    async def _serve(self, work: Coroutine[object, object, Found]) -> None:
        try:
            found = await work
        except Unanswered:
            found = errors.lookup_unavailable()
        except Exception as error:  # noqa: BLE001 - the boundary of one request: a 500, and only its own
            log("request_crashed", level="error", error=type(error).__name__, at="feedback")
            found = errors.internal()
        if isinstance(found, DownstreamError):
            self._reply.refuse(found)
        else:
            self._reply.answer(200, found)

    # -- decisions ----------------------------------------------------------------------------

    async def _find_decision(self) -> Found:
        identifier = self._head.path[len(DECISIONS_PREFIX) :].decode("latin-1")
        found = await self._decision(identifier)
        return errors.decision_not_found() if found is None else found

    async def _decision(self, identifier: str) -> dict[str, Any] | None:
        if milliseconds_of(identifier) is None:
            return None
        return await self._plane.lookup.decision(identifier, self._caller)

    # -- feedback -----------------------------------------------------------------------------

    async def _take_feedback(self, body: bytes) -> Found:
        encoding = self._head.fields.get(b"content-encoding", b"identity")
        if encoding.lower() != b"identity":
            return errors.unsupported_encoding()
        posted = read_feedback(body)
        if isinstance(posted, DownstreamError):
            return posted
        if self._plane.journal.is_refusing:
            return errors.capture_unavailable()
        decision = await self._decision(posted.id)
        if decision is None:
            return errors.decision_not_found()
        record = self._record_of(posted)
        if self._is_redacted(decision.get("route")):
            record = redacted_feedback(record)
        if not await self._keep(record):
            return errors.capture_unavailable()
        return {"object": "feedback", "id": record.id, "decision_id": record.request_id}

    def _is_redacted(self, name: object) -> bool:
        """Whether the route that took the request, as it is now, asks for it."""
        routes = self._plane.wiring.policy.routes
        return any(route.redact for route in routes if route.name == name)

    def _record_of(self, posted: "Posted") -> FeedbackRecord:
        value = posted.value
        return FeedbackRecord(
            id=new_id(),
            request_id=posted.id,
            ts_us=time.time_ns() // 1000,
            name=posted.name,
            number=None if value is None or isinstance(value, str) else float(value),
            text=value if isinstance(value, str) else None,
            demonstration=bytes(posted.demonstration) if posted.demonstration else None,
            source=SOURCE,
            caller=self._caller,
        )

    async def _keep(self, record: FeedbackRecord) -> bool:
        """Whether the journal has it, as safe as `durability` asks."""
        done: asyncio.Future[bool] = self._plane.loop.create_future()
        self._plane.journal.append_feedback(record, done.set_result)
        return await done


class Posted(msgspec.Struct, forbid_unknown_fields=True):
    """The body. Nothing else is taken: whoever sends `source` should learn that it is ours."""

    id: str
    name: str
    value: bool | float | str | None = None
    demonstration: msgspec.Raw = msgspec.Raw()


_SHAPE = (
    "Feedback is a JSON object {id, name, value, demonstration}: id and name text, value a number,"
    " true, false or text, demonstration text or an assistant message."
)
_AT_FAULT = re.compile(r"`\$\.(id|name|value)|field `(id|name)`")

_decode = msgspec.json.Decoder(Posted).decode
_decode_demonstration = msgspec.json.Decoder(str | dict[str, Any] | None).decode


def read_feedback(body: bytes) -> Posted | DownstreamError:
    """The body read and held against its limits."""
    if len(body) > BODY_BYTES_MAX:
        return errors.too_large(BODY_BYTES_MAX)
    try:
        posted = _decode(body)
    except msgspec.ValidationError as error:
        at = _AT_FAULT.search(str(error))
        return errors.invalid(_SHAPE, param=(at[1] or at[2]) if at else None)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return errors.invalid("The request body is not valid JSON.")
    return _fault_of(posted) or posted


def _fault_of(posted: Posted) -> DownstreamError | None:
    if not 0 < len(posted.name.encode()) <= NAME_BYTES_MAX or not posted.name.isprintable():
        message = f"A name has 1 to {NAME_BYTES_MAX} bytes, all printable."
        return errors.invalid(message, param="name")
    if isinstance(posted.value, str) and len(posted.value.encode()) > TEXT_BYTES_MAX:
        return errors.invalid(f"A text has at most {TEXT_BYTES_MAX} bytes.", param="value")
    try:
        if posted.demonstration and _decode_demonstration(posted.demonstration) is None:
            posted.demonstration = msgspec.Raw()  # null is not there
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return errors.invalid(_SHAPE, param="demonstration")
    return None
