"""A build context that is sent in part: the list of what is in it, and what the engine asks for then.

The engine keeps the last tree of each context by a key, and the list says what is in the context now, with what changes
when a file does: size, time of the content, inode and time of the inode (`darse.build.context_list`). So a file is sent
when anything of that is new, whatever its time says. One that changes while it is read, or so shortly before that the
next change could leave all of that as it is, is asked for again the next time.

The key is a digest of a number that nobody else knows (`.buildNodeID` beside config.json, as docker's client has it),
the directory, and the patterns. Everything belongs to root, as in an archive.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import struct
import sys
import time

from darse.build.context_list import MOST_ENTRIES, encode
from darse.cli.building.context_archive import capability, pack
from darse.cli.building.context_walk import unreadable, walk
from darse.client.errors import ClientError
from darse.client.requests import builds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from darse.cli.settings.config import Settings
    from darse.client.blocking import Client, Connection

_NODE_FILE = ".buildNodeID"
_PIECE = 256 * 1024
# The kernel stamps inodes by a clock that lags behind by a tick: 10 ms at the most.
_TICK_NS = 20_000_000
_CONTENT, _END, _CHANGED, _GONE, _CAPABILITY = range(5)
_FRAME = struct.Struct(">BII")
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class ContextTree:
    """A directory, as it is when it is listed."""

    def __init__(self, directory: str, patterns: Sequence[str], node: str) -> None:
        """node: see `node_id`; empty: the context is not sent in part."""
        self.directory = directory
        self.patterns = patterns
        self.key = hashlib.sha256(
            "\0".join((node, directory, *patterns)).encode("utf-8", "surrogateescape")
        ).hexdigest()
        self._node = node
        self._entries: list[bytes] = []
        self._list = b""

    def listed(self) -> bool:
        """List the directory; False where it has to be sent as an archive. Raises CliError."""
        if not self._node:
            return False
        links: dict[tuple[int, int], bytes] = {}
        entries = self._entries
        for path, status in walk(self.directory, self.patterns):
            mode = status.st_mode
            if stat.S_ISREG(mode):
                identity, link, size = b"%d.%d" % (status.st_ino, status.st_ctime_ns), b"", status.st_size
                if status.st_nlink > 1:
                    first = links.setdefault((status.st_dev, status.st_ino), path)
                    link, size = (b"", size) if first == path else (first, 0)
                entries.append(encode(path, mode, size, status.st_mtime_ns, identity, link))
            elif not stat.S_ISSOCK(mode):  # it means nothing without the process that listens
                entries.append(encode(path, mode, 0, status.st_mtime_ns, b"", self._target(path, status)))
        self._list = b"".join(entries)
        return len(entries) <= MOST_ENTRIES

    def _target(self, path: bytes, status: os.stat_result) -> bytes:
        if stat.S_ISLNK(status.st_mode):
            try:
                return os.readlink(os.path.join(os.fsencode(self.directory), path))
            except OSError as error:
                raise unreadable(path, error) from error
        if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            return b"%d:%d" % (os.major(status.st_rdev), os.minor(status.st_rdev))
        return b""

    def claim(self) -> dict[str, str]:
        """What is said of it before it is asked for."""
        return {"key": self.key, "digest": hashlib.sha256(self._list).hexdigest()}

    def archive(self) -> Iterator[bytes]:
        """All of it. Raises CliError."""
        return pack(self.directory, self.patterns)

    def send(self, client: Client, token: str) -> None:
        """Send the list, and what the engine asks for. Raises CliError for a file that cannot be read."""
        try:
            connection, _ = client.attach(builds.context_connection(token))
        except ClientError:
            return  # the build has ended meanwhile, and says why
        with contextlib.closing(connection), contextlib.suppress(OSError):  # the build has ended: as above
            connection.socket.sendall(len(self._list).to_bytes(8, "big") + self._list)
            reader = _Reader(connection)
            count = int.from_bytes(reader.take(4), "big")
            numbers = struct.unpack(f">{count}I", reader.take(4 * count))
            self._send_files(connection, numbers)
            while connection.socket.recv(_PIECE):
                pass  # it says nothing more, and ends when it has all

    def _send_files(self, connection: Connection, numbers: Sequence[int]) -> None:
        buffer = bytearray()
        for number in numbers:
            for piece in self._pieces(number):
                buffer += piece
                if len(buffer) >= _PIECE:
                    connection.socket.sendall(len(buffer).to_bytes(4, "big") + buffer)
                    buffer.clear()
        end = bytes(4)
        connection.socket.sendall(len(buffer).to_bytes(4, "big") + buffer + end if buffer else end)

    def _pieces(self, number: int) -> Iterator[bytes]:
        path, _, size, modified, identity, _, _ = self._entries[number].split(b"\0")
        where = os.path.join(os.fsencode(self.directory), path)
        began = time.time_ns()
        try:
            descriptor = os.open(where, _READ)
        except (FileNotFoundError, NotADirectoryError):
            yield _FRAME.pack(_GONE, number, 0)
            return
        except OSError as error:
            raise unreadable(where, error) from error
        with open(descriptor, "rb", buffering=0) as file:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                yield _FRAME.pack(_GONE, number, 0)
                return
            left = before.st_size
            while left and (piece := file.read(min(left, _PIECE))):
                left -= len(piece)
                yield _FRAME.pack(_CONTENT, number, len(piece))
                yield piece
            if attribute := capability(descriptor):
                yield _FRAME.pack(_CAPABILITY, number, len(attribute)) + attribute
            after = os.fstat(descriptor)
        listed = (size, modified, identity)
        is_same = all(
            (b"%d" % one.st_size, b"%d" % one.st_mtime_ns, b"%d.%d" % (one.st_ino, one.st_ctime_ns)) == listed
            for one in (before, after)
        )
        if not is_same:
            sys.stderr.write(f"WARNING: {os.fsdecode(path)} changes while it is sent; the next build sends it again\n")
        elif after.st_ctime_ns >= began - _TICK_NS:
            is_same = False
        yield _FRAME.pack(_END if is_same else _CHANGED, number, 0)


class _Reader:
    """What comes on a hijacked connection."""

    def __init__(self, connection: Connection) -> None:
        self._socket = connection.socket
        self._data = connection.early()

    def take(self, count: int) -> bytes:
        """So many bytes. Raises OSError where it ends before."""
        while len(self._data) < count:
            piece = self._socket.recv(_PIECE)
            if not piece:
                raise ConnectionError("the engine has closed the connection")
            self._data += piece
        found, self._data = self._data[:count], self._data[count:]
        return found


def node_id(settings: Settings) -> str:
    """A number of this user on this machine, made the first time; empty where it cannot be kept."""
    path = os.path.join(settings.directory, _NODE_FILE)
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            found = file.read().strip()
    except OSError:
        found = ""
    if found:
        return found
    from darse.cli.settings.config_file import write_atomically

    made = os.urandom(32).hex()
    try:
        os.makedirs(settings.directory, mode=0o700, exist_ok=True)
        write_atomically(path, made.encode())
    except OSError:
        return ""
    return made
