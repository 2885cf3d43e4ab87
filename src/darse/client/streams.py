"""Multiplexed streams: an 8-byte header (stream, length) before each piece of what a process prints."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

STDOUT, STDERR = 1, 2


class Frames:
    """Takes the frames of a multiplexed stream apart."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return the frames that are complete with this data: 1 is standard output, 2 standard error."""
        self._buffer += data
        frames, position = [], 0
        while len(self._buffer) >= position + 8:
            end = position + 8 + int.from_bytes(self._buffer[position + 4 : position + 8], "big")
            if len(self._buffer) < end:
                break
            stream = STDERR if self._buffer[position] in (2, 3) else STDOUT
            frames.append((stream, bytes(self._buffer[position + 8 : end])))
            position = end
        del self._buffer[:position]
        return frames


class Demultiplexer:
    """The same for callers that want each frame written: `write(stream, data)`."""

    def __init__(self, write: Callable[[int, bytes], None]) -> None:
        self._write = write
        self._frames = Frames()

    def feed(self, data: bytes) -> None:
        """Take what came from the engine."""
        for stream, piece in self._frames.feed(data):
            self._write(stream, piece)
