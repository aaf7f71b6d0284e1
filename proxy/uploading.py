"""A request's body on its way through: from the client's connection to the backend's, unheld.

Pieces go on as they come. Where the backend takes them more slowly, or is not reached yet, at
most HELD_BYTES_MAX wait here and the client is not read; so an upload of any size takes as much
memory as a small one.
"""

import hashlib
from time import monotonic

from .attempt import Attempt
from .downstream import DownstreamProtocol
from .heads import LAST_CHUNK, chunk

HELD_BYTES_MAX = 128 << 10
"""Two reads; a smaller body is sent together with its head."""


class Upload:
    """One body. `take` and `end` come from the client; `opened`, `pause`, `resume` from the
    backend's connection; `stop` ends it early."""

    def __init__(self, client: DownstreamProtocol, *, is_chunked: bool, is_hashed: bool) -> None:
        self._client = client
        self._is_chunked = is_chunked
        self._hash = hashlib.sha256() if is_hashed else None
        self._attempt: Attempt | None = None
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._is_open = False
        self._is_full = False
        self._is_over = False
        self.length = 0
        """Bytes so far."""
        self.is_whole = False
        self.moved_s = monotonic()
        """When a piece last came or went."""

    def __repr__(self) -> str:
        return f"<Upload {self.length} held={self._held_bytes} whole={self.is_whole}>"

    @property
    def waits_for_backend(self) -> bool:
        """The backend does not take what is here."""
        return self._is_full

    def digest(self) -> bytes | None:
        """SHA-256 of all that came."""
        return None if self._hash is None else self._hash.digest()

    def take_held(self) -> bytes:
        """What waits here, to be sent with the head."""
        held = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        return held

    def send_by(self, attempt: Attempt) -> None:
        """Who sends it."""
        self._attempt = attempt

    def stop(self) -> None:
        """Nothing more is wanted of it."""
        self._is_over = True
        self._attempt = None
        self.take_held()

    # -- from the client ----------------------------------------------------------------------

    def take(self, data: bytes) -> None:
        """A piece has come."""
        if self._is_over:
            return
        self.moved_s = monotonic()
        self.length += len(data)
        if self._hash is not None:
            self._hash.update(data)
        if self._is_open and not self._is_full:
            self._send(data)
            return
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > HELD_BYTES_MAX:
            self._client.pause_reading()

    def end(self) -> None:
        """It is whole."""
        self.is_whole = True
        self.moved_s = monotonic()
        self._client.resume_reading()  # what comes now is another request, or word that it left
        if self._is_open and not self._held:
            self._finish()

    # -- from the backend's connection --------------------------------------------------------

    def opened(self) -> None:
        """The head is sent."""
        self._is_open = True
        self._go_on()

    def pause(self) -> None:
        """The backend takes no more for now."""
        self._is_full = True
        if not self._is_over and not self.is_whole:
            self._client.pause_reading()

    def resume(self) -> None:
        """It takes more again."""
        self._is_full = False
        self._go_on()

    # -- inside -------------------------------------------------------------------------------

    def _go_on(self) -> None:
        if self._is_over:
            return
        self.moved_s = monotonic()
        held = self.take_held()
        if held:
            self._send(held)
        if self.is_whole:
            self._finish()
        elif not self._is_full:
            self._client.resume_reading()

    def _send(self, data: bytes) -> None:
        if self._attempt is not None:
            self._attempt.send_more(chunk(data) if self._is_chunked else data)

    def _finish(self) -> None:
        if self._attempt is not None:
            if self._is_chunked:
                self._attempt.send_more(LAST_CHUNK)
            self._attempt.sent_all()
            self._attempt = None
