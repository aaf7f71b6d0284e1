"""A small `/v1/files`: uploads are counted and hashed as they come, their beginning is kept."""

import hashlib
import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass

from aiohttp import BodyPartReader, web

from .chat import Json

FILES_MAX = 100  # the oldest is forgotten first
KEPT_BYTES_MAX = 1 << 20  # of each file; what lies beyond is only counted


@dataclass(frozen=True, slots=True)
class File:
    """One upload. `content` is its beginning."""

    id: str
    name: str
    purpose: str
    length_bytes: int
    sha256: str
    content: bytes
    created_s: int

    def described(self) -> Json:
        """The file object of the API, with the digest of what was received."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": self.length_bytes,
            "created_at": self.created_s,
            "filename": self.name,
            "purpose": self.purpose,
            "status": "processed",
            "sha256": self.sha256,
        }


class Files:
    """The files of one backend."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, File] = OrderedDict()

    async def receive(self, request: web.Request) -> File | None:
        """Read an upload in constant memory; None where it holds no file."""
        purpose = "assistants"
        found: File | None = None
        if not request.content_type.startswith("multipart/"):
            return None
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                continue
            if part.name == "purpose":
                purpose = await part.text()
            elif part.name == "file":
                found = await _received(part, purpose)
        if found is not None:
            self._kept[found.id] = found
            if len(self._kept) > FILES_MAX:
                self._kept.popitem(last=False)
        return found

    def find(self, file_id: str) -> File | None:
        """A kept file."""
        return self._kept.get(file_id)

    def remove(self, file_id: str) -> bool:
        """Whether there was one."""
        return self._kept.pop(file_id, None) is not None

    def listed(self) -> Json:
        """All of them, newest first."""
        data = [file.described() for file in reversed(self._kept.values())]
        return {"object": "list", "data": data, "has_more": False}


async def _received(part: BodyPartReader, purpose: str) -> File:
    digest = hashlib.sha256()
    kept = bytearray()
    length = 0
    while piece := await part.read_chunk():
        digest.update(piece)
        length += len(piece)
        kept += piece[: KEPT_BYTES_MAX - len(kept)]
    return File(
        id=f"file-{uuid.uuid4().hex[:24]}",
        name=part.filename or "file",
        purpose=purpose,
        length_bytes=length,
        sha256=digest.hexdigest(),
        content=bytes(kept),
        created_s=int(time.time()),
    )
