"""Build contexts on their way in: directories below the data root, each for as long as its build runs.

    build/contexts/<id>/<number>    the unpacked files of one of the client's directories

What a client sends is unpacked by the confined worker (`darse.archive.worker`), which sees the directory and nothing
else. The engine itself reads such a directory only by `darse.linux.fs.openat2`. Directories that a killed engine left
are removed at the next start: no build outlives its engine.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from darse.archive import process
from darse.archive.pipe_source import PipeSource
from darse.core.errors import InvalidParameter, SystemFault
from darse.core.exhaustion import exhausted, in_words
from darse.runtime.rootfs.trash import Trash

# More files than any checkout has; each takes an inode of the data root's file system.
MOST_ENTRIES = 5_000_000


class ContextStore:
    """The contexts of all builds that run."""

    def __init__(self, data_root: Path, trash: Trash) -> None:
        """`trash` is on the same file system; trees are removed through it."""
        self.root = data_root / "build" / "contexts"
        self._trash = trash

    @asynccontextmanager
    async def directory(self) -> AsyncIterator[Path]:
        """A new directory, which is gone at the end of the block."""
        path = self.root / secrets.token_hex(8)
        with in_words(self.root):
            # Nobody else passes: what clients send may be set-uid.
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.mkdir(mode=0o700)
        try:
            yield path
        finally:
            # Out of the way now, and removed without the build's client waiting for it.
            await self._trash.set_aside(path)

    async def receive(self, pieces: AsyncIterator[bytes], directory: Path) -> int:
        """Unpack an archive, compressed or not, that comes in pieces, into a new directory; return the files' bytes.

        Raises InvalidParameter where it is no archive or one that is refused, and SystemFault.
        """
        with in_words(directory):
            directory.mkdir(mode=0o755)
        source = PipeSource(-1)
        answer = await source.fed_by(pieces, self._unpack(source, directory))
        if "fault" in answer:
            fault = exhausted(OSError(int(answer["errno"]), ""), directory)
            raise type(fault or SystemFault())(f"cannot unpack the build context: {fault or answer['fault']}")
        if "error" in answer:
            raise InvalidParameter(f"Error processing tar file: {answer['error']}")
        return int(answer["content"])

    @staticmethod
    async def _unpack(source: PipeSource, directory: Path) -> dict[str, str]:
        archive = source.open()
        try:
            return await process.unpack_files(directory, archive, entries=MOST_ENTRIES)
        except process.WorkerFailed as error:
            raise SystemFault(str(error)) from error
        finally:
            os.close(archive)
