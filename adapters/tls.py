"""TLS over a plain transport, for both sides of the proxy.

uvloop's own TLS was measured to lose the tail of large answers when a peer closes without
close_notify (13-23 % of 3 MB bodies), and to let `close()` reach the peer only after 30 s.
Here the event loop moves ciphertext over a plain TCP transport, whose `abort()` is immediate,
and `ssl.MemoryBIO` does the cryptography: every byte that arrived is decrypted and delivered
before the end of the connection is.

`TlsLayer` is a Protocol towards the plain transport and a Transport towards the inner protocol.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any, Protocol, cast

from .read_buffer import BUFFER, READ_BYTES


class Inner(Protocol):
    """What the layer needs of the protocol it carries: an `asyncio.Protocol` or more."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> bool | None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...


class TlsLayer(asyncio.Transport, asyncio.BufferedProtocol):
    """One TLS connection. `inner` gets connection_made once the handshake is done.

    `on_handshake` is called once, with None or what went wrong; after a failure `inner` is
    never called.
    """

    def __init__(
        self,
        inner: Inner,
        context: ssl.SSLContext,
        *,
        on_handshake: Callable[[Exception | None], None],
        server_hostname: str | None = None,
    ) -> None:
        super().__init__()
        self._inner = inner
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_hostname is None,
            server_hostname=server_hostname,
        )
        self._on_handshake = on_handshake
        self._plain: asyncio.Transport | None = None
        self._is_ready = False
        self._is_paused = False
        self._has_ended = False
        self._is_closing = False
        self._has_written_eof = False
        self._error: Exception | None = None

    # -- towards the plain transport ----------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop registers no base class
        self._plain = transport
        self._shake_hands()

    def get_buffer(self, sizehint: int) -> memoryview:
        return BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        self._incoming.write(BUFFER[:nbytes])
        if self._is_ready:
            self._deliver()
        else:
            self._shake_hands()

    def eof_received(self) -> bool | None:
        """The peer closed TCP. Without a close_notify before it, that is an unclean end."""
        if self._is_ready and not self._has_ended:
            self._break(ConnectionResetError("closed without close_notify"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._is_ready:
            self._finish_handshake(exc or ConnectionResetError("closed during the TLS handshake"))
            return
        self._inner.connection_lost(exc or self._error)

    def pause_writing(self) -> None:
        if self._is_ready:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._is_ready:
            self._inner.resume_writing()

    # -- towards the inner protocol -----------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_closing or self._has_written_eof or self._plain is None or not data:
            return
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view) :]
        self._flush()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Send close_notify and FIN behind what was written, and read on."""
        if self._is_closing or self._has_written_eof or self._plain is None:
            return
        self._has_written_eof = True
        self._notify()
        self._plain.write_eof()

    def close(self) -> None:
        """Send close_notify behind what was written, then close.

        As with TCP, input that is still to be read makes a reset of it, and the peer may lose
        what was written: see `write_eof`.
        """
        if self._is_closing or self._plain is None:
            return
        self._is_closing = True
        if not self._has_written_eof:
            self._notify()
        self._plain.close()

    def abort(self) -> None:
        """Reset at once; nothing buffered is sent."""
        self._is_closing = True
        if self._plain is not None:
            self._plain.abort()

    def is_closing(self) -> bool:
        return self._is_closing or self._plain is None or self._plain.is_closing()

    def pause_reading(self) -> None:
        self._is_paused = True
        if self._plain is not None and not self._plain.is_closing():
            self._plain.pause_reading()

    def resume_reading(self) -> None:
        if not self._is_paused or self._plain is None or self._plain.is_closing():
            return
        self._is_paused = False
        self._plain.resume_reading()
        self._deliver()

    def is_reading(self) -> bool:
        return not self._is_paused

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "ssl_object":
            return self._tls
        return default if self._plain is None else self._plain.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        return 0 if self._plain is None else self._plain.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if self._plain is not None:
            self._plain.set_write_buffer_limits(high, low)

    # -- inside -------------------------------------------------------------------------------

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except (ssl.SSLError, ssl.CertificateError) as error:
            self._flush()  # the alert tells the peer why
            self._finish_handshake(error)
            if self._plain is not None:
                self._plain.close()
            return
        self._flush()
        self._is_ready = True
        self._inner.connection_made(self)
        self._finish_handshake(None)
        self._deliver()

    def _notify(self) -> None:
        """Say close_notify. Input is kept out of its sight: it would take it for the peer's."""
        unread = self._incoming.read()
        with contextlib.suppress(ssl.SSLError):  # WantRead: the peer's answer is not waited for
            self._tls.unwrap()
        self._incoming.write(unread)
        self._flush()

    def _break(self, error: Exception) -> None:
        """The peer's fault, which `connection_lost` tells the inner protocol."""
        if not self._is_closing:
            self._error = error
            self.abort()

    def _finish_handshake(self, error: Exception | None) -> None:
        report, self._on_handshake = self._on_handshake, lambda error: None
        report(error)

    def _deliver(self) -> None:
        """Hand everything decrypted so far to the inner protocol, unless it paused."""
        while not self._is_paused and not self._has_ended and not self._is_closing:
            try:
                data = self._tls.read(READ_BYTES)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError as error:
                self._break(error)
                break
            if not data:
                self._has_ended = True
                if not self._inner.eof_received():
                    self.close()
                break
            self._inner.data_received(data)
        self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending and self._plain is not None and not self._plain.is_closing():
            self._plain.write(self._outgoing.read())
