"""Whether a connection's next bytes have already come, although nobody has read them yet."""

import asyncio
import select


def has_unread(transport: asyncio.BaseTransport) -> bool:
    """Bytes, or the end, lie in the kernel: closing now would be answered with a reset.

    One system call; for the end of a connection's life, not for its course.
    """
    opened = transport.get_extra_info("socket")
    if opened is None or opened.fileno() < 0:
        return False
    waiting = select.poll()
    waiting.register(opened.fileno(), select.POLLIN)
    return bool(waiting.poll(0))
