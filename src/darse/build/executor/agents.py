"""SSH agents of a build's client, as sockets that its processes can use."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from darse.build.errors import BuildError
from darse.build.executor.session import AgentConnections
from darse.build.graph.operations import SecretMount
from darse.core import executors
from darse.linux.fs.contained import remove_tree

_PIECE = 64 * 1024
# Python 3.13 removes the path of a unix socket that it closes, in the event loop: here it goes with its directory.
_KEEPING: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}


@contextlib.asynccontextmanager
async def forwarded(agents: AgentConnections, mount: SecretMount, directory: Path) -> AsyncIterator[Path]:
    """A socket below `directory` for the block, each connection to which is one to the client's agent. Raises OSError.

    What is below `directory` is removed when the engine starts.
    """
    own = Path(tempfile.mkdtemp(prefix="", dir=directory))
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        try:
            with contextlib.suppress(BuildError, OSError):  # the process sees its connection end
                await _forward(agents, mount.id, reader, writer)
        finally:
            writers.discard(writer)
            writer.close()

    try:
        own.chmod(0o711)
        path = own / "agent"
        server = await asyncio.start_unix_server(serve, path, **_KEEPING)
        try:
            os.chown(path, mount.uid, mount.gid)
            path.chmod(mount.mode)
            yield path
        finally:
            server.close()
            for writer in list(writers):
                writer.transport.abort()
            await server.wait_closed()
    finally:
        await executors.storage.run_to_end(remove_tree, own)


async def _forward(
    agents: AgentConnections, agent: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    answers, requests = await agents.connect(agent)
    try:
        back = asyncio.create_task(_copy(answers, writer))
        try:
            await _copy(reader, requests)
            requests.write_eof()
            await back
        finally:
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)
    finally:
        requests.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(_PIECE):
        writer.write(piece)
        await writer.drain()
