"""An engine that builds, as a process that can be killed: ROOT DOCKERFILE. Prints what its steps print."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.support.builds import Builder, local_engine


class _Printing(bytearray):
    def extend(self, data: object) -> None:
        assert isinstance(data, bytes)
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


async def _main(root: Path, dockerfile: str) -> None:
    async with local_engine(root) as engine:
        builder = Builder(engine)
        await builder.build(dockerfile, log=_Printing())
        sys.stdout.write("built\n")


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), sys.argv[2]))
