"""Where everything from a backend is read into before it is copied to where it belongs.

Left to itself, uvloop reads 250 KB at once, and as much would wait in memory for every client
that is slower than its backend. One buffer serves all connections of a process: what was read is
copied out of it before the loop reads again.
"""

from typing import Final

READ_BYTES: Final = 64 * 1024
BUFFER: Final = memoryview(bytearray(READ_BYTES))
