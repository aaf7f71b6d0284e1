"""One segment being written: a file that only grows, locked for as long as its writer lives.

The lock (flock) is what tells a folder that a segment is sealed: the kernel releases it with
the writer's death. A segment gets its name only once it is locked and headed, so nobody ever
sees one that merely looks dead.
"""

import fcntl
import os
from pathlib import Path
from typing import Final

import msgspec

from .frame_writer import FrameWriter
from .frames import SEGMENT_SUFFIX, Kind, SegmentHeader, keys_of

JOURNAL_FOLDER: Final = "journal"
"""Inside the capture directory."""

BUFFERS_MAX: Final = 1024  # IOV_MAX on Linux: more buffers fail with EINVAL
_MODE: Final = 0o600  # bodies are other people's text


class SegmentFile:
    """An open segment. `size` is where the next frame goes, `synced_size` what is on disk."""

    __slots__ = ("descriptor", "frames", "path", "size", "synced_size")

    def __init__(self, path: Path, descriptor: int, frames: FrameWriter, size: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self.frames = frames
        self.size = size
        self.synced_size = 0

    @classmethod
    def create(cls, directory: Path, name: str, *, header: SegmentHeader) -> "SegmentFile":
        """A new segment with its header written. OSError leaves nothing behind."""
        path = directory / f"{name}{SEGMENT_SUFFIX}"
        unnamed = directory / f"{name}.new"
        frames = FrameWriter(keys_of(path.name))
        payload = msgspec.msgpack.encode(header)
        first = frames.head(Kind.HEADER, payload) + payload
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(unnamed, flags, _MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.write(descriptor, first) != len(first):
                raise OSError(f"no room for the header of {path}")
            unnamed.rename(path)
        except OSError:
            os.close(descriptor)
            unnamed.unlink(missing_ok=True)
            raise
        return cls(path, descriptor, frames, len(first))

    def write(self, buffers: list[bytes], length: int) -> OSError | None:
        """Append all of `buffers` (`length` bytes in all), or say why not.

        One system call where all goes well. `size` is left alone: only the caller knows
        which frames became whole.
        """
        try:
            written = os.writev(self.descriptor, buffers)
            while written < length:  # a short write: the next one names the reason
                rest = memoryview(b"".join(buffers))[written:]
                written += os.write(self.descriptor, rest)
        except OSError as error:
            return error
        return None

    def bytes_on_disk(self) -> int:
        """How far the file reaches, torn frame included."""
        return os.fstat(self.descriptor).st_size

    def cut_back(self, size: int) -> bool:
        """Remove what stands behind `size`; False where even that is refused."""
        try:
            os.ftruncate(self.descriptor, size)
        except OSError:
            return False
        self.size = size
        return True

    def is_unlinked(self) -> bool:
        """Somebody removed the file under us: writes succeed and are lost."""
        return os.fstat(self.descriptor).st_nlink == 0

    def close(self) -> None:
        """Seal: the lock goes with the descriptor."""
        os.close(self.descriptor)
