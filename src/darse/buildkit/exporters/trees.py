"""The exporter `local`: a tree, file by file, into a directory of the client. fsutil's protocol, of which we send here.

STAT of each file, in order, an empty one at the end; the client asks (REQ) for the contents that it has not got.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import stat
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from grpclib.const import Cardinality
from grpclib.exceptions import GRPCError

from darse.build.errors import BuildError
from darse.build.solver import Snapshot
from darse.buildkit.exporters.archives import SEND
from darse.buildkit.sessions import ClientSession
from darse.buildkit.wire.packet_pb2 import Packet
from darse.buildkit.wire.stat_pb2 import Stat
from darse.go_modes import GO_DIRECTORY, GO_KINDS, go_mode
from darse.linux.fs.contained import LEAVE, Walk
from darse.linux.fs.openat2 import open_in_root

if TYPE_CHECKING:
    from darse.build.executor import EngineExecutor

_PIECE = 32 * 1024
_MOST_AT_ONCE = 64


async def send_trees(
    session: ClientSession,
    number: int,
    executor: EngineExecutor,
    trees: Mapping[str, Snapshot | None],
    *,
    split: bool,
) -> None:
    """Send trees, by their platforms, to the exporter of a number. Raises BuildError.

    split: whether each has a directory of its own; else no path may be in two of them.
    """
    seen: dict[str, str] = {}
    for name, snapshot in trees.items():
        layers = executor.layers_of(snapshot) if snapshot is not None else ()
        if not split and len(trees) > 1:
            await executor.trees.read(layers, partial(_check_paths, name, seen))
        await _send_tree(session, number, executor, layers, name.replace("/", "_") if split else "")


def _check_paths(name: str, seen: dict[str, str], root: int) -> None:
    """Raise BuildError where a file of a tree is in another one, too."""
    for _, _, path, status in _steps(root):
        if stat.S_ISDIR(status.st_mode):
            continue
        if (other := seen.setdefault(path, name)) != name:
            raise BuildError(f"cannot overwrite {path} from {other} with {name} when split option is disabled")


def _steps(root: int) -> Iterator[tuple[int, str, str, os.stat_result]]:
    """Each entry: where it is and its name there, its path, its attributes."""
    names: list[str] = []
    for kind, directory, name, status in Walk(root, wide_ordered=True):
        if kind == LEAVE:
            if names:
                names.pop()
            continue
        yield directory, name, "/".join((*names, name)), status
        if stat.S_ISDIR(status.st_mode):
            names.append(name)


async def _send_tree(
    session: ClientSession, number: int, executor: EngineExecutor, layers: Sequence[str], name: str
) -> None:
    metadata = {"buildkit-attachable-exporter-id": str(number)}
    session.require(SEND, "what is exported to it")
    call = session.channel.request(SEND, Cardinality.STREAM_STREAM, Packet, Packet, metadata=metadata)
    loop = asyncio.get_running_loop()

    def wait_for(work: Coroutine[Any, Any, Any]) -> Any:
        future: concurrent.futures.Future[Any] = asyncio.run_coroutine_threadsafe(work, loop)
        return future.result()

    try:
        async with call as stream:
            await stream.send_request()
            await executor.trees.read(layers, lambda root: _Sender(root, name, stream, wait_for).run())
            await stream.end()
    except GRPCError as error:
        raise BuildError(f"the client took no files: {error.message}") from error


class _Sender:
    """One transfer, in a thread that sees the tree."""

    def __init__(self, root: int, name: str, stream: Any, wait_for: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._root = root
        self._prefix = f"{name}/" if name else ""
        self._stream = stream
        self._wait_for = wait_for
        self._files: dict[int, str] = {}
        self._links: dict[tuple[int, int], str] = {}

    def run(self) -> None:
        """Send all of it."""
        batch: list[Packet] = []
        if self._prefix:
            top = os.fstat(self._root)
            made = Stat(path=self._prefix.rstrip("/"), mode=GO_DIRECTORY | 0o755, modTime=top.st_mtime_ns)
            batch.append(Packet(type=Packet.PACKET_STAT, stat=made))
        for count, (directory, name, path, status) in enumerate(_steps(self._root), len(batch)):
            batch.append(Packet(type=Packet.PACKET_STAT, stat=self._stat(count, directory, name, path, status)))
            if len(batch) >= _MOST_AT_ONCE:
                self._wait_for(self._send(batch))
                batch = []
        self._wait_for(self._send([*batch, Packet(type=Packet.PACKET_STAT)]))
        while (packet := self._wait_for(self._stream.recv_message())) is not None:
            if packet.type == Packet.PACKET_FIN:
                self._wait_for(self._send([packet]))
                return
            if packet.type == Packet.PACKET_ERR:
                raise BuildError(f"the client took no files: {packet.data.decode('utf-8', 'replace')}")
            if packet.type == Packet.PACKET_REQ and packet.ID in self._files:
                self._content(packet.ID)
        raise BuildError("the client ended the transfer before its end")

    def _stat(self, count: int, directory: int, name: str, path: str, status: os.stat_result) -> Stat:
        kind = stat.S_IFMT(status.st_mode)
        found = Stat(
            path=self._prefix + path,
            mode=go_mode(status.st_mode, GO_KINDS.get(kind, 0)),
            uid=status.st_uid,
            gid=status.st_gid,
            size=status.st_size if kind == stat.S_IFREG else 0,
            modTime=status.st_mtime_ns,
        )
        if kind == stat.S_IFLNK:
            found.linkname = os.readlink(name, dir_fd=directory)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            found.devmajor, found.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
        elif kind == stat.S_IFREG:
            first = self._links.setdefault((status.st_dev, status.st_ino), path) if status.st_nlink > 1 else path
            if first != path:
                found.linkname = self._prefix + first
            else:
                self._files[count] = path
        return found

    def _content(self, number: int) -> None:
        descriptor = open_in_root(self._root, self._files[number], os.O_RDONLY | os.O_NOFOLLOW)
        try:
            while data := os.read(descriptor, _PIECE):
                self._wait_for(self._send([Packet(type=Packet.PACKET_DATA, ID=number, data=data)]))
        finally:
            os.close(descriptor)
        self._wait_for(self._send([Packet(type=Packet.PACKET_DATA, ID=number)]))

    async def _send(self, packets: Sequence[Packet]) -> None:
        for packet in packets:
            await self._stream.send_message(packet)
