"""Going on where a stream broke off, when an engine comes back: nothing twice, and nothing lost.

Log lines are found again by their time, in nanoseconds, and by how many bytes of what has that time were shown. An
attached stream has no times; what it missed is found in the container's log, behind the last bytes that it did show.
"""

from __future__ import annotations

import time

# What of an attached stream is remembered, in bytes per stream, to find the place in the log again.
_REMEMBERED = 64 * 1024
# How much later than its time in the log a piece may arrive.
_LATENESS_NS = 1_000_000_000
_STAMP = len("2026-01-02T03:04:05.000000000Z ")


def api_time(nanoseconds: int) -> str:
    """A time for `since`: seconds since the epoch with nine digits."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    return f"{seconds}.{fraction:09d}"


def _is_stamp(head: bytes) -> bool:
    """Whether bytes begin with a time as logs have it: RFC 3339, UTC, nine digits, and a space."""
    return head[4:5] == head[7:8] == b"-" and head[10:11] == b"T" and head[19:20] == b"." and head[29:_STAMP] == b"Z "


def _nanoseconds_of(stamp: bytes) -> int:
    import calendar

    moment = time.strptime(stamp[:19].decode("ascii"), "%Y-%m-%dT%H:%M:%S")
    return calendar.timegm(moment) * 1_000_000_000 + int(stamp[20:29])


class StampedStream:
    """One stream of a log that was asked for with times: takes them off, unless they are to be shown.

    `again()` says that the log is read once more from `since_ns()` on: what was shown already is left out.
    """

    def __init__(self, *, show_stamps: bool) -> None:
        self._show_stamps = show_stamps
        self._head = b""
        self._stamp = b""
        self._at_line_start = True
        self._stamp_due = False
        # The newest time of which something was shown, and how many bytes have that time.
        self._newest = b""
        self._shown = 0
        # How many bytes of the newest time are to be left out; None when all that comes is new.
        self._skip: int | None = None

    def since_ns(self) -> int:
        """From when on the log is to be read again; 0 when nothing was shown."""
        return _nanoseconds_of(self._newest) if self._newest else 0

    def again(self) -> None:
        """Begin anew."""
        self._head = b""
        self._at_line_start = True
        self._skip = self._shown if self._newest else None

    def feed(self, data: bytes, *, is_frame: bool = False) -> bytes:
        """Take what came; return what is to be shown of it.

        is_frame: it is a message of its own, which dockerd gives a time also in the middle of a long line.
        """
        if is_frame and not self._at_line_start and _is_stamp(data[:_STAMP]):
            self._at_line_start = True
        output: list[bytes] = []
        while data:
            if self._at_line_start:
                self._head, data = self._head + data, b""
                if len(self._head) < _STAMP:
                    break
                data, self._head = self._head, b""
                self._at_line_start = False
                if _is_stamp(data[:_STAMP]):
                    self._begin_line(data[:_STAMP])
                    data = data[_STAMP:]
            end = data.find(b"\n") + 1
            piece, data = (data[:end], data[end:]) if end else (data, b"")
            self._at_line_start = bool(end)
            output.append(self._payload(piece))
        return b"".join(output)

    def _begin_line(self, stamp: bytes) -> None:
        self._stamp, self._stamp_due = stamp, self._show_stamps
        if stamp > self._newest:
            self._newest, self._shown, self._skip = stamp, 0, None

    def _payload(self, piece: bytes) -> bytes:
        if self._skip is not None:
            if self._stamp < self._newest:
                return b""
            skipped = min(self._skip, len(piece))
            self._skip = self._skip - skipped or None
            piece = piece[skipped:]
            if skipped:
                self._stamp_due = False  # the line broke off behind its time
        self._shown += len(piece)
        if self._stamp_due and piece:
            self._stamp_due = False
            return self._stamp + piece
        return piece


class AttachedStream:
    """What one attached stream has shown: its last bytes, and from when on they can be looked for in the log."""

    def __init__(self, now_ns: int) -> None:
        """now_ns: when the stream was attached."""
        self.since_ns = now_ns
        self._trimmed_ns = now_ns
        self._last = bytearray()

    def note(self, data: bytes) -> None:
        """Take what was shown."""
        self._last += data
        if len(self._last) > 2 * _REMEMBERED:
            # What is kept has all come after the time before.
            del self._last[:-_REMEMBERED]
            self.since_ns, self._trimmed_ns = self._trimmed_ns - _LATENESS_NS, time.time_ns()

    def missed(self, log: bytes) -> bytes | None:
        """What of the log came after what was shown; None when that cannot be found in it.

        The log may begin some bytes before the stream, with what was printed just before it was attached.
        """
        place = log.find(self._last)
        return None if place < 0 else log[place + len(self._last) :]
