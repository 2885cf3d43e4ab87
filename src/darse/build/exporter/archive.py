"""The tree of a build as an archive: the outputs `tar` and `local`, whose client writes it to a file, or unpacks it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING

from darse.archive.tar_writer import TreePacker
from darse.build.solver.operation_executor import Snapshot
from darse.core import executors
from darse.linux.pipes import PipeEnd

if TYPE_CHECKING:
    from darse.build.executor import EngineExecutor


async def export_archive(executor: EngineExecutor, trees: Mapping[str, Snapshot | None]) -> AsyncGenerator[bytes]:
    """Yield trees (None: an empty one) as one archive, as they are read: each in the directory of its name.

    Without a name its files are at the top. Raises BuildError, ArchiveRefused and OSError.

    Whoever stops early closes the generator.
    """
    stacks = {name: () if one is None else executor.layers_of(one) for name, one in trees.items()}
    pipe = PipeEnd(reads=True)
    packer = TreePacker(pipe.theirs)

    def pack(name: str, root: int) -> None:
        if name:
            packer.add(root, ".", name.encode())
        else:
            packer.add_contents(root)

    async def pack_all() -> None:
        for name, layers in stacks.items():
            await executor.trees.read(layers, functools.partial(pack, name))
        await executors.storage.run(packer.finish)

    packing = asyncio.create_task(pack_all())
    # A tree that cannot be mounted is not packed, either.
    packing.add_done_callback(lambda _: pipe.close_theirs())
    try:
        while piece := await pipe.read():
            yield piece
        await packing
    finally:
        # Without a reader the packer ends.
        pipe.close()
        with contextlib.suppress(BrokenPipeError, asyncio.CancelledError):
            await packing
