"""Unpacked layers, by chain ID: `layers/<hex>/fs`, published by a rename once they are whole and on the disk.

Whether a layer is needed is derived from the images in the database, never counted. A layer that several loads want
at once is unpacked once.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from darse.engine.errors import InvalidParameter, SystemFault
from darse.engine.locks import KeyedLocks
from darse.engine.state import Schema, State
from darse.images.content import ContentStore
from darse.images.model import Descriptor
from darse.linux.files import sync_directory, sync_file_system

SCHEMA = Schema(
    "layers",
    (
        """
        CREATE TABLE layers (
            chain_id TEXT PRIMARY KEY,
            diff_id TEXT NOT NULL,
            size INTEGER NOT NULL,
            stored_ns INTEGER NOT NULL
        ) WITHOUT ROWID
        """,
    ),
)


class LayerStore:
    """Layers under `root`, and their rows."""

    def __init__(self, root: Path, state: State, content: ContentStore) -> None:
        self._directory = root / "layers"
        self._state = state
        self._content = content
        self._locks = KeyedLocks()

    def open(self) -> None:
        """Make the directory and drop what was not published, or not recorded."""
        # Nobody else passes: layers hold programs that are set-uid, and device nodes (CVE-2021-41091).
        self._directory.mkdir(exist_ok=True)
        self._directory.chmod(0o700)
        known = {self._name(chain_id) for (chain_id,) in self._state.rows("SELECT chain_id FROM layers")}
        for path in list(self._directory.iterdir()):
            if path.name not in known:
                shutil.rmtree(path)

    def path(self, chain_id: str) -> Path:
        """The directory that overlayfs takes as a lower one."""
        return self._directory / self._name(chain_id) / "fs"

    def size(self, chain_id: str) -> int:
        """Bytes of the layer's files; 0 when it is not there."""
        row = self._state.row("SELECT size FROM layers WHERE chain_id = ?", (chain_id,))
        return int(row[0]) if row else 0

    def sizes(self) -> dict[str, int]:
        """Bytes of every layer, by chain ID."""
        return dict(self._state.rows("SELECT chain_id, size FROM layers"))

    def exists(self, chain_id: str) -> bool:
        """Whether the layer is there, whole."""
        return self._state.row("SELECT 1 FROM layers WHERE chain_id = ?", (chain_id,)) is not None

    async def ensure(self, chain_id: str, diff_id: str, blob: Descriptor) -> None:
        """Unpack `blob` as layer `chain_id` unless it is there.

        Raises InvalidParameter when the archive is refused or is not what `diff_id` says.
        """
        async with self._locks.hold(chain_id):
            if self.exists(chain_id):
                return
            target = self._content.temporary()
            try:
                actual, size = await self.unpack(blob.digest, target)
                if actual != diff_id:
                    raise InvalidParameter(f"layer {blob.digest} unpacks to {actual}, and the image says {diff_id}")
                await asyncio.to_thread(sync_file_system, target)
                final = self._directory / self._name(chain_id)
                if final.exists():
                    await asyncio.to_thread(shutil.rmtree, final)
                os.rename(target, final)
                sync_directory(self._directory)
            finally:
                if target.exists():
                    await asyncio.to_thread(shutil.rmtree, target)
            with self._state.transaction() as connection:
                connection.execute("INSERT INTO layers VALUES (?, ?, ?, ?)", (chain_id, diff_id, size, time.time_ns()))

    async def unpack(self, digest: str, target: Path) -> tuple[str, int]:
        """Unpack a blob below `target`/fs in a worker; return its diff ID and its files' bytes.

        Raises InvalidParameter with the worker's reason, and SystemFault when the host cannot hold the layer.
        """
        root = target / "fs"
        root.mkdir(mode=0o755, parents=True)
        root.chmod(0o755)
        with open(self._content.path(digest), "rb") as archive:
            worker = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "darse.images.layer_worker",
                str(root),
                stdin=archive,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={"LC_ALL": "C.UTF-8", "PATH": os.defpath, "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
            )
            try:
                output, errors = await worker.communicate()
            except asyncio.CancelledError:
                # Nobody waits for it any more, and the target is about to be removed below it.
                worker.kill()
                await worker.wait()
                raise
        if worker.returncode != 0:
            raise SystemFault(
                f"the layer worker ended with status {worker.returncode}: {errors.decode(errors='replace')[-2000:]}"
            )
        answer = json.loads(output)
        if "fault" in answer:
            raise SystemFault(f"cannot unpack layer {digest}: {answer['fault']}")
        if "error" in answer:
            raise InvalidParameter(f"layer {digest} is refused: {answer['error']}")
        return answer["diff_id"], answer["size"]

    def remove(self, chain_ids: Iterable[str]) -> list[Path]:
        """Forget layers; return what is left of them, in the ingest directory, to be deleted at leisure."""
        paths = []
        gone = list(chain_ids)
        with self._state.transaction() as connection:
            connection.executemany("DELETE FROM layers WHERE chain_id = ?", [(chain_id,) for chain_id in gone])
        for chain_id in gone:
            # Out of the way at once: the same layer may be wanted again while this one is deleted.
            aside = self._content.temporary()
            os.rename(self._directory / self._name(chain_id), aside)
            paths.append(aside)
        return paths

    @staticmethod
    def _name(chain_id: str) -> str:
        return chain_id.removeprefix("sha256:")
