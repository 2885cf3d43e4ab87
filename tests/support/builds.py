"""Builds on an engine in the test's own process, without an API: front end, solver, executor and exporter.

async with local_engine() as engine:
    builder = Builder(engine)
    built = await builder.build("FROM builtin/busybox\\nRUN echo hello >/file\\n")
    assert builder.read(built.image, "file") == b"hello\\n"
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from darse.build.base_images import BaseImages
from darse.build.cache import DatabaseCacheStorage
from darse.build.context import content_digest
from darse.build.dockerfile.convert import Converted, ConvertOptions, convert
from darse.build.executor import BuildSession, KnownContexts
from darse.build.exporter import export_image
from darse.build.progress import ignore_events
from darse.build.solver import Outcome, Solver, VertexLog
from darse.engine.configuration.command_line import parse
from darse.engine.engine import Engine
from darse.images import Image
from tests.support.leaks import find_leaks
from tests.support.waiting import wait_until


@contextlib.asynccontextmanager
async def local_engine(root: Path | None = None, *flags: str) -> AsyncIterator[Engine]:
    """An engine on roots of its own, or on those below `root`; without it nothing may be left on the host."""
    own = root or Path(tempfile.mkdtemp(prefix="dz-", dir=os.environ.get("DARSE_TEST_ROOT", "/tmp")))
    own.chmod(0o711)  # containers' root may be somebody else's
    exec_root = own / "x"
    exec_root.mkdir(parents=True, exist_ok=True)
    if not exec_root.is_mount():
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=711", "darse", str(exec_root)], check=True)
    config = parse(["--data-root", str(own / "d"), "--exec-root", str(exec_root), *flags]).load()
    engine = Engine(config)
    try:
        await engine.start()
        yield engine
    finally:
        try:
            await engine.close()
        finally:
            if root is None:
                _sweep(own)


def _sweep(root: Path) -> None:
    """Remove an engine's roots. Raises AssertionError for what it has left on the host."""
    left: list[str] = []

    def clean() -> bool:
        left[:] = find_leaks(root)
        return not left

    try:
        wait_until(clean, 10, "a clean host")
    except AssertionError as error:
        raise AssertionError("the engine left behind:\n  " + "\n  ".join(left)) from error
    finally:
        subprocess.run(["umount", "-l", str(root / "x")], check=False)
        shutil.rmtree(root, ignore_errors=True)


class Built(msgspec.Struct, frozen=True):
    """What a build came to."""

    image: Image
    outcomes: Mapping[str, Outcome]
    """By the step's name."""
    log: bytes
    """What processes have printed."""


class Builder:
    """Builds Dockerfiles on one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.executor = engine.builds.service.executor
        self.storage = DatabaseCacheStorage(engine.state)
        self.solver = Solver(self.executor.for_session(BuildSession()), self.storage)
        self.log = bytearray()

    async def build(
        self,
        dockerfile: str,
        context: Path | None = None,
        *,
        names: tuple[str, ...] = (),
        session: Any = (),
        log: bytearray | None = None,
        **options: Any,
    ) -> Built:
        """Build an image. session: fields of the session; options: of the conversion."""
        contexts = KnownContexts({})
        if context is not None:
            contexts = KnownContexts({"context": (context, _digest(context))})
        bound = BuildSession(contexts=contexts, **dict(session))
        executor = self.executor.for_session(bound)
        settings = ConvertOptions(build_platform="linux/amd64", **options)
        converted = await self._convert(dockerfile, settings)
        self.log = printed = bytearray() if log is None else log

        def report(event: object) -> None:
            if isinstance(event, VertexLog):
                printed.extend(event.data)

        solution = await self.solver.solve(converted.definition, report, executor=executor)
        try:
            image_id = await export_image(self.executor, solution.snapshot, converted.image, names=names)
        finally:
            self.solver.release(solution)
        image = self.engine.images.by_id(image_id)
        assert image is not None
        named = {converted.definition.metadata[digest].name: outcome for digest, outcome in solution.outcomes.items()}
        return Built(image, named, bytes(printed))

    async def _convert(self, dockerfile: str, settings: ConvertOptions) -> Converted:
        async with self.engine.images.lease() as lease:
            bases = BaseImages(self.engine.images, self.engine.registries, lease, ignore_events)
            try:
                return await convert(dockerfile, settings, bases)
            finally:
                await bases.close()

    def layer(self, image: Image, number: int = -1) -> Path:
        """The files of one of an image's layers."""
        return self.engine.images.stores.layers.path(image.chain_ids[number])

    def read(self, image: Image, path: str) -> bytes:
        """A file of an image, from the topmost layer that has it."""
        for number in reversed(range(len(image.chain_ids))):
            found = self.layer(image, number) / path
            if os.path.lexists(found):
                return found.read_bytes()
        raise FileNotFoundError(path)


def _digest(directory: Path) -> str:
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return content_digest(root)
    finally:
        os.close(root)
