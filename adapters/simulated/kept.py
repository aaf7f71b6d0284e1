"""What one simulated backend remembers: the responses it made, and files."""

import time
from collections import OrderedDict

from aiohttp import web

from . import responses
from .call import Call, CallRefused
from .chat import Json
from .files import Files
from .reply import Reply

RESPONSES_MAX = 1000  # the oldest is forgotten first

Answer = tuple[int, Json | bytes]


class Kept:
    """Responses by id, and the files of one backend."""

    def __init__(self) -> None:
        self._responses: OrderedDict[str, tuple[Json, str]] = OrderedDict()
        self._files = Files()

    def keep_response(self, reply: Reply, call: Call) -> None:
        """Remember a response as it will be once it is whole, and what was asked."""
        done = responses.finished(reply, call, created_s=int(time.time()))
        self._responses[responses.response_id(reply)] = done, call.prompt
        if len(self._responses) > RESPONSES_MAX:
            self._responses.popitem(last=False)

    def check_previous(self, call: Call) -> None:
        """Raise CallRefused where a request goes on from a response that is not here."""
        if call.previous is not None and call.previous not in self._responses:
            message = f"Previous response with id '{call.previous}' not found."
            raise CallRefused(
                400, message, code="previous_response_not_found", param="previous_response_id"
            )

    async def answer(self, request: web.Request) -> Answer:
        """Answer a request for one of them."""
        words = request.match_info["rest"].strip("/").split("/")
        place, rest = words[0], words[1:]
        if request.match_info["collection"] == "files":
            return await self._file(request, place, rest)
        return self._response(request.method, place, rest)

    def _response(self, method: str, response_id: str, rest: list[str]) -> Answer:
        found = self._responses.get(response_id)
        if found is None:
            return _missing(f"Response with id '{response_id}' not found.")
        response, prompt = found
        match method, rest:
            case "GET", []:
                return 200, response
            case "DELETE", []:
                del self._responses[response_id]
                return 200, {"id": response_id, "object": "response", "deleted": True}
            case "POST", ["cancel"]:
                return 200, response
            case "GET", ["input_items"]:
                content = [{"type": "input_text", "text": prompt}]
                item: Json = {"id": "msg_in", "type": "message", "role": "user", "content": content}
                return 200, {"object": "list", "data": [item], "has_more": False}
        return _missing("Unknown request URL.", code="unknown_url")

    async def _file(self, request: web.Request, file_id: str, rest: list[str]) -> Answer:
        if not file_id:
            return await self._all_files(request)
        found = self._files.find(file_id)
        if found is None:
            return _missing(f"No such File object: {file_id}")
        match request.method, rest:
            case "GET", []:
                return 200, found.described()
            case "GET", ["content"]:
                return 200, found.content
            case "DELETE", []:
                self._files.remove(file_id)
                return 200, {"id": file_id, "object": "file", "deleted": True}
        return _missing("Unknown request URL.", code="unknown_url")

    async def _all_files(self, request: web.Request) -> Answer:
        if request.method != "POST":
            return 200, self._files.listed()
        received = await self._files.receive(request)
        if received is None:
            return 400, _error("'file' is a required property", "file", None)
        return 200, received.described()


def _missing(message: str, *, code: str | None = None) -> Answer:
    return 404, _error(message, "id", code)


def _error(message: str, param: str, code: str | None) -> Json:
    kind = "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
