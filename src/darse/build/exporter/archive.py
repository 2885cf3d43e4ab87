"""The tree of a build as an archive: the outputs `tar` and `local`, whose client writes it to a file, or unpacks it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from darse.archive.tar_writer import TreePacker
from darse.build.solver.operation_executor import Snapshot
from darse.linux.pipes import PipeEnd

if TYPE_CHECKING:
    from darse.build.executor import EngineExecutor


async def export_archive(executor: EngineExecutor, snapshot: Snapshot | None) -> AsyncGenerator[bytes]:
    """Yield a tree (None: an empty one) as an archive, as it is read. Raises BuildError, ArchiveRefused and OSError.

    Whoever stops early closes the generator.
    """
    layers = executor.layers_of(snapshot) if snapshot is not None else ()
    pipe = PipeEnd(reads=True)

    def pack(root: int) -> None:
        try:
            packer = TreePacker(pipe.theirs)
            packer.add_contents(root)
            packer.finish()
        finally:
            pipe.give_away()

    packing = asyncio.create_task(executor.trees.read(layers, pack))
    # A tree that cannot be mounted is not packed, either.
    packing.add_done_callback(lambda _: pipe.give_away())
    try:
        while piece := await pipe.read():
            yield piece
        await packing
    finally:
        # Without a reader the packer ends.
        pipe.close()
        with contextlib.suppress(BrokenPipeError, asyncio.CancelledError):
            await packing
