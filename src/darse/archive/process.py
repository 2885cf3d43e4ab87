"""Runs the worker from the engine: see `darse.archive.worker`.

The worker begins with an empty environment, without site-packages' start-up files, and with no descriptor of the
engine's but those that it is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import importlib.util
import os
import sys
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path

_START = "import sys; sys.path += sys.argv.pop(1).split(':'); from darse.archive.worker import main; main(sys.argv[1:])"
_PIPE = 1024 * 1024
_PIECE = 256 * 1024


class WorkerFailed(Exception):
    """The worker ended without an answer; the text is what it said on stderr."""


@functools.cache
def _search_path() -> str:
    """Where the worker finds darse and the decompressors."""
    places: list[str] = []
    for name in ("darse", "isal", "zstandard"):
        found = importlib.util.find_spec(name)
        if found is not None and found.origin is not None:
            place = str(Path(found.origin).parent.parent)
            if place not in places:
                places.append(place)
    return ":".join(places)


async def _start(
    mode: str, directory: Path, options: Iterable[str], stdin: int, extra: int | None
) -> asyncio.subprocess.Process:
    descriptors = () if extra is None else (extra,)
    command = [sys.executable, "-I", "-S", "-c", _START, _search_path(), mode, str(directory), *options]
    if extra is not None:
        command.append(f"extra={extra}")
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=descriptors,
        cwd="/",
        env={"LC_ALL": "C.UTF-8"},
    )


async def _answer(worker: asyncio.subprocess.Process) -> dict[str, str]:
    """Wait for the worker's end. Raises WorkerFailed. When this is cancelled, the worker is gone, too."""
    try:
        output, errors = await worker.communicate()
    except asyncio.CancelledError:
        # Nobody waits for it any more, and its directory is about to be removed below it.
        with contextlib.suppress(ProcessLookupError):
            worker.kill()
        await worker.wait()
        raise
    if worker.returncode != 0:
        text = errors.decode(errors="replace")[-2000:].strip()
        raise WorkerFailed(f"the layer worker ended with status {worker.returncode}: {text}")
    lines = (line.partition(" ") for line in output.decode(errors="replace").splitlines())
    return {key: value for key, _, value in lines}


async def unpack(
    directory: Path, archive: int, recipe: int, *, size: int = -1, limit: int = -1, owners: str = ""
) -> dict[str, str]:
    """Unpack `archive` into `directory`; return the worker's answer. Raises WorkerFailed.

    `archive` and `recipe` are descriptors, which the caller closes. `size` bytes are read at most, and `limit` bytes
    may come of them; -1 is no bound.
    """
    options = [f"size={size}", f"limit={limit}", f"owners={owners}"]
    return await _answer(await _start("unpack", directory, options, archive, recipe))


async def verify(directory: Path, recipe: int) -> dict[str, str]:
    """Rebuild the archive of `recipe` to nowhere; return the worker's answer. Raises WorkerFailed."""
    return await _answer(await _start("verify", directory, (), recipe, None))


async def rebuild(directory: Path, recipe: int, target: int) -> dict[str, str]:
    """Write the archive of `recipe` to the descriptor `target`; return the worker's answer. Raises WorkerFailed."""
    return await _answer(await _start("rebuild", directory, (), recipe, target))


async def stream(directory: Path, recipe: int, answer: dict[str, str]) -> AsyncGenerator[bytes, None]:
    """Yield the archive of `recipe`; `answer` is filled at its end. Raises WorkerFailed."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            with contextlib.suppress(OSError):  # more than /proc/sys/fs/pipe-user-pages-soft allows
                fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE)
            worker = await _start("rebuild", directory, (), recipe, writing)
        finally:
            os.close(writing)
        try:
            os.set_blocking(reading, False)
            while piece := await _read(reading):
                yield piece
            answer.update(await _answer(worker))
        finally:
            if worker.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    worker.kill()
                await worker.wait()
    finally:
        os.close(reading)


async def _read(descriptor: int) -> bytes:
    """Read from a pipe what is there, when there is something; nothing at its end."""
    while True:
        try:
            return os.read(descriptor, _PIECE)
        except BlockingIOError:
            await _readable(descriptor)


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)
