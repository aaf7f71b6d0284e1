"""One buffer that all of a process's connections are read into.

Left to itself, uvloop reads 250 KB at once, and as much would wait in memory for every client
that is slower than its backend. What was read is copied to where it belongs before the loop
reads again.
"""

from typing import Final

READ_BYTES: Final = 64 * 1024
BUFFER: Final = memoryview(bytearray(READ_BYTES))
