"""Gives one reply over HTTP at its pace, and fails in the ways that were asked for.

Unlike a real model server it is honest about it: every answer has `x-pointsman-simulated`.
"""

import asyncio
import gzip
import math
import socket
import struct
import time
from collections.abc import Iterator, Mapping

from aiohttp import web

from .call import Call
from .faults import Faults
from .reply import Reply
from .shape import Events, Shape

SLEEP_S_MIN = 0.0005  # a shorter pause costs more than it tells
HALF_EVENT_BYTES = 40

_PAGE = (
    b"<!doctype html><html><head><title>Gateway</title></head><body><h1>Gateway</h1></body></html>"
)


class Performance:
    """One answer to one request. An instant one makes no pauses but those of its faults."""

    def __init__(
        self,
        request: web.Request,
        headers: Mapping[str, str],
        *,
        shape: Shape,
        faults: Faults,
        is_instant: bool,
        fingerprint: str,
    ) -> None:
        self._request = request
        self._fixed_headers = dict(headers)
        self._started = time.monotonic()
        self._shape = shape
        self._faults = faults
        self._is_instant = is_instant
        self._fingerprint = fingerprint

    async def fail_early(self) -> web.StreamResponse | None:
        """The faults that need no answer; None where the answer is wanted after all."""
        faults = self._faults
        if faults.slow:
            await asyncio.sleep(faults.slow / 1000)
        if faults.nothing or faults.reset:
            return self._hang_up(web.Response(), with_reset=faults.reset)
        status = faults.status or 200
        if faults.html:
            return self._respond(_PAGE, status, "text/html")
        if faults.empty:
            return self._respond(b"", status)
        if status >= 300:
            return self._respond(self._shape.failure(status), status)
        return None

    async def answer(self, reply: Reply, call: Call) -> web.StreamResponse:
        """The whole answer, or its chunks as they come."""
        if call.is_stream:
            return await self._stream(reply, call)
        length = max((len(choice.tokens) for choice in reply.choices), default=0)
        await self._pause(reply.first_token_s + length * reply.token_s)
        body = self._shape.whole(
            reply, call, created_s=int(time.time()), fingerprint=self._fingerprint
        )
        return await self.give(body)

    # -- without streaming ----------------------------------------------------------------

    async def give(self, body: bytes) -> web.StreamResponse:
        """A whole body, or what its faults make of it."""
        faults = self._faults
        if faults.error_event:
            return self._respond(self._shape.failure(500), 200)
        if faults.bad_json:
            return self._respond(body[: len(body) // 2], 200)
        if faults.gzip:
            self._fixed_headers["content-encoding"] = "gzip"
            return self._respond(gzip.compress(body), 200)
        if not self._is_cut and faults.stall is None:
            return self._respond(body, 200)
        response = web.StreamResponse(headers=self._headers | {"content-type": "application/json"})
        response.content_length = len(body)
        await response.prepare(self._request)
        await response.write(body[: len(body) // 2])
        if self._is_cut:
            return self._hang_up(response, with_reset=faults.cut_reset is not None)
        await asyncio.sleep(faults.stall or 0)
        await response.write(body[len(body) // 2 :])
        return response

    # -- streaming ------------------------------------------------------------------------

    async def _stream(self, reply: Reply, call: Call) -> web.StreamResponse:
        faults = self._faults
        started = time.monotonic()
        chunks = self._shape.events(
            reply, call, created_s=int(time.time()), fingerprint=self._fingerprint
        )
        await self._pause(reply.first_token_s)
        response = await self._open_stream()
        if faults.error_event:
            await response.write(self._shape.error_event(self._shape.failure(500)))
            return response
        await self._write(response, chunks.opening())
        ends_after = faults.cut if faults.cut is not None else faults.cut_reset
        for position in range(chunks.length):
            due = started + reply.first_token_s + position * reply.token_s
            await self._pause(due - time.monotonic())
            if position == faults.after and faults.stall:
                await asyncio.sleep(faults.stall)
            if position == ends_after:
                break
            if faults.bad_json and position == 1:
                await response.write(b'data: {"id":"chatcmpl-\n\n')
            if faults.half_event and position == chunks.length // 2:
                await response.write(next(chunks.token(position))[:HALF_EVENT_BYTES])
                return response
            await self._write(response, chunks.token(position))
        if ends_after is not None:
            return self._hang_up(response, with_reset=faults.cut_reset is not None)
        return await self._finish(response, chunks)

    async def _open_stream(self) -> web.StreamResponse:
        headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        response = web.StreamResponse(headers=self._headers | headers)
        if self._faults.gzip:
            response.enable_compression(web.ContentCoding.gzip)
        response.enable_chunked_encoding()
        await response.prepare(self._request)
        return response

    async def _finish(self, response: web.StreamResponse, chunks: Events) -> web.StreamResponse:
        if self._faults.no_finish:
            return response
        await self._write(response, chunks.closing())
        ending = list(chunks.ending())
        await self._write(response, iter(ending[:-1] if self._faults.no_done else ending))
        return response

    @staticmethod
    async def _write(response: web.StreamResponse, events: Iterator[bytes]) -> None:
        for event in events:
            await response.write(event)

    # -- both -----------------------------------------------------------------------------

    @property
    def _headers(self) -> dict[str, str]:
        processing_ms = int((time.monotonic() - self._started) * 1000)
        return self._fixed_headers | {"openai-processing-ms": str(processing_ms)}

    @property
    def _is_cut(self) -> bool:
        return self._faults.cut is not None or self._faults.cut_reset is not None

    async def _pause(self, span_s: float) -> None:
        if not self._is_instant and span_s > SLEEP_S_MIN and math.isfinite(span_s):
            await asyncio.sleep(span_s)

    def _respond(
        self, body: bytes, status: int, content_type: str = "application/json"
    ) -> web.Response:
        headers = self._headers | {"content-type": content_type}
        if self._faults.retry_after is not None:
            headers["retry-after"] = self._faults.retry_after
        return web.Response(body=body, status=status, headers=headers)

    def _hang_up(self, response: web.StreamResponse, *, with_reset: bool) -> web.StreamResponse:
        """Close the connection under aiohttp, which then finds nobody to write to."""
        transport = self._request.transport
        if transport is not None:
            if with_reset:
                opened = transport.get_extra_info("socket")
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                transport.abort()
            else:
                transport.close()
        return response
