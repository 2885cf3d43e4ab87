"""Runs the worker from the engine: see `darse.archive.worker`.

The worker begins with an empty environment, without site-packages' start-up files, and with no descriptor of the
engine's but those that it is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.util
import os
import signal
import sys
from collections.abc import AsyncGenerator, Iterable, Iterator
from pathlib import Path

import msgspec

import darse
from darse.core import executors
from darse.core.tasks import ended
from darse.linux.descriptors import DescriptorClosed, FileDescriptor
from darse.linux.pipes import PipeEnd, read_when_ready, wide_pipe
from darse.linux.proc.process import Process

_START = "import sys; sys.path += sys.argv.pop(1).split(':'); from darse.archive.worker import main; main(sys.argv[1:])"
_PIECE = 256 * 1024
# The number that the worker's second descriptor has there.
_EXTRA = 3


class OnConnection(msgspec.Struct, frozen=True):
    """An archive on its way: the connection it comes on, what was read of it already, and its length.

    `start` and `length` are those of `darse.archive.request_body.Body`.
    """

    connection: int
    start: bytes
    length: int


class WorkerFailed(Exception):
    """The worker ended without an answer; the text is what it said on stderr."""


def search_path() -> str:
    """Where the worker finds darse and the decompressors."""
    return f"{Path(darse.__path__[0]).parent}:{_decompressors()}"


@functools.cache
def _decompressors() -> str:
    places: list[str] = []
    for name in ("isal", "zstandard"):
        found = importlib.util.find_spec(name)
        if found is not None and found.origin is not None:
            place = str(Path(found.origin).parent.parent)
            if place not in places:
                places.append(place)
    return ":".join(places)


class ArchiveWorker:
    """A worker that was started, and our ends of its stdout and stderr."""

    def __init__(self, process: Process, output: PipeEnd, errors: PipeEnd) -> None:
        self.pid = process.pid
        self._process = process
        self._output = output
        self._errors = errors
        #: As `subprocess` has it; None until the worker has ended.
        self.returncode: int | None = None

    async def communicate(self) -> tuple[bytes, bytes]:
        """Wait for its end; return what it wrote to stdout, and to stderr."""
        output, errors = await asyncio.gather(_read_all(self._output), _read_all(self._errors))
        await self.wait()
        return output, errors

    async def wait(self) -> None:
        """Return when it has ended."""
        with contextlib.suppress(DescriptorClosed):  # of several who wait one lets go of it
            await self._process.wait()
        if self.returncode is None:
            self._reap()

    def _reap(self) -> None:
        _, status = os.waitpid(self.pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)
        for one in (self._process, self._output, self._errors):
            one.close()

    async def end(self) -> None:
        """Kill it, when it has not ended yet."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send(signal.SIGKILL)
            # Whoever stops waiting: nobody else reaps it.
            await ended(asyncio.ensure_future(self.wait()), lambda: None)


async def _read_all(end: PipeEnd) -> bytes:
    pieces = []
    while piece := await end.read():
        pieces.append(piece)
    return b"".join(pieces)


async def _start(mode: str, directory: Path, options: Iterable[str], stdin: int, extra: int | None) -> ArchiveWorker:
    command = [sys.executable, "-I", "-S", "-c", _START, search_path(), mode, str(directory), *options]
    with contextlib.ExitStack() as undo:
        output = PipeEnd(reads=True, wide=False)
        undo.callback(output.close)
        errors = PipeEnd(reads=True, wide=False)
        undo.callback(errors.close)
        descriptors = {0: stdin, 1: output.theirs, 2: errors.theirs}
        if extra is not None:
            descriptors[_EXTRA] = extra
            command.append(f"extra={_EXTRA}")
        starting = executors.kernel.begin(
            functools.partial(Process.start, command, {"LC_ALL": "C.UTF-8"}, descriptors, directory="/")
        )
        try:
            process = await starting
        except asyncio.CancelledError:
            if starting.exception() is None:
                await ArchiveWorker(starting.result(), output, errors).end()
            raise
        output.close_theirs()
        errors.close_theirs()
        undo.pop_all()
    return ArchiveWorker(process, output, errors)


async def answer(worker: ArchiveWorker) -> dict[str, str]:
    """Wait for the worker's end. Raises WorkerFailed. When this is cancelled, the worker is gone, too."""
    try:
        output, errors = await worker.communicate()
    except asyncio.CancelledError:
        # Nobody waits for it any more, and its directory is about to be removed below it.
        await worker.end()
        raise
    if worker.returncode != 0:
        text = errors.decode(errors="replace")[-2000:].strip()
        raise WorkerFailed(f"the layer worker ended with status {worker.returncode}: {text}")
    lines = (line.partition(" ") for line in output.decode(errors="replace").splitlines())
    return {key: value for key, _, value in lines}


async def unpack(
    directory: Path, archive: int, tar_split: int, *, size: int = -1, limit: int = -1, owners: str = ""
) -> dict[str, str]:
    """Unpack `archive` into `directory`; return the worker's answer. Raises WorkerFailed.

    `archive` and `tar_split` are descriptors, which the caller closes. `size` bytes are read at most, and `limit` bytes
    may come of them; -1 is no bound.
    """
    options = [f"size={size}", f"limit={limit}", f"owners={owners}"]
    return await answer(await _start("unpack", directory, options, archive, tar_split))


async def unpack_files(directory: Path, archive: int, *, entries: int = -1, limit: int = -1) -> dict[str, str]:
    """Unpack an archive of files that is no layer into `directory`; return the worker's answer. Raises WorkerFailed.

    `archive` is a descriptor, which the caller closes. `entries` and `limit` (bytes) bound what may come of it; -1 is
    no bound.
    """
    return await answer(await _start("files", directory, [f"entries={entries}", f"limit={limit}"], archive, None))


async def export_volume(directory: Path, owners: str = "") -> tuple[ArchiveWorker, int]:
    """Start packing a volume; return the worker, and the descriptor that gives the archive.

    `owners` is `start_pack`'s.
    """
    with _nothing() as null:
        return await _start_writer("export", directory, [f"owners={owners}"], null)


async def import_volume(directory: Path, archive: int, owners: str = "") -> dict[str, str]:
    """Unpack the archive of a volume into `directory`; return the worker's answer. Raises WorkerFailed.

    `archive` is a descriptor, which the caller closes.
    """
    return await answer(await _start("import", directory, [f"owners={owners}"], archive, None))


async def copy_tree(source: int, directory: Path, *, overlay: bool = False) -> dict[str, str]:
    """Copy an open directory into `directory`, which is empty; return the worker's answer. Raises WorkerFailed.

    overlay: it is the upper directory of an overlay, and the copy is to be one.
    """
    options = ("overlay=yes",) if overlay else ()
    with _nothing() as null:
        return await answer(await _start("copy", directory, options, null, source))


@contextlib.contextmanager
def _nothing() -> Iterator[int]:
    """An input that is empty."""
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield null
    finally:
        os.close(null)


async def change_tree(directory: Path, job: int, contents: int) -> dict[str, str]:
    """Change a directory as a job says, with contents that come; return the worker's answer. Raises WorkerFailed.

    Both are descriptors, which the caller closes; see `darse.archive.tree_changes`. In the place of the job its results
    come.
    """
    return await answer(await _start("changes", directory, (), contents, job))


async def verify(directory: Path, tar_split: int) -> dict[str, str]:
    """Rebuild the archive of `tar_split` to nowhere; return the worker's answer. Raises WorkerFailed."""
    return await answer(await _start("verify", directory, (), tar_split, None))


async def record(directory: Path, tar_split: int) -> dict[str, str]:
    """Write the tar-split metadata of a directory that is to be a layer; return the worker's answer.

    `tar_split` is the descriptor of an empty file, which the caller closes. Raises WorkerFailed.
    """
    with _nothing() as null:
        return await answer(await _start("record", directory, (), null, tar_split))


async def convert(directory: Path, of_docker: int, tar_split: int) -> dict[str, str]:
    """Verify a directory as a layer of docker's, and write its tar-split metadata; return the worker's answer.

    `of_docker`, its `tar-split.json.gz`, and `tar_split`, an empty file, are descriptors, which the caller closes.
    Raises WorkerFailed.
    """
    return await answer(await _start("convert", directory, (), of_docker, tar_split))


async def rebuild(directory: Path, tar_split: int, target: int) -> dict[str, str]:
    """Write the archive of `tar_split` to the descriptor `target`; return the worker's answer. Raises WorkerFailed."""
    return await answer(await _start("rebuild", directory, (), tar_split, target))


async def start_pack(
    directory: Path, skip: Iterable[str] = (), owners: str = "", newest: int | None = None
) -> tuple[ArchiveWorker, int]:
    """Start packing the upper directory of an overlay; return the worker, and the descriptor that gives the archive.

    `skip` are absolute paths below the directory that are left out; `owners` says how those on the disk are mapped;
    later times than `newest`, in seconds since the epoch, become that one.
    """
    options = [f"skip={':'.join(skip)}", f"owners={owners}", f"newest={'' if newest is None else newest}"]
    with _nothing() as null:
        return await _start_writer("pack", directory, options, null)


async def _start_writer(mode: str, directory: Path, options: Iterable[str], stdin: int) -> tuple[ArchiveWorker, int]:
    """Start a worker that writes to a pipe; return it, and the reading end."""
    reading, writing = wide_pipe()
    try:
        return await _start(mode, directory, options, stdin, writing), reading
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)


async def stream(directory: Path, tar_split: int, result: dict[str, str]) -> AsyncGenerator[bytes, None]:
    """Yield the archive of `tar_split`; `result` is filled at its end. Raises WorkerFailed."""
    worker, number = await _start_writer("rebuild", directory, (), tar_split)
    reading = FileDescriptor(number)
    try:
        os.set_blocking(number, False)
        while piece := await read_when_ready(reading, _PIECE):
            yield piece
        result.update(await answer(worker))
    finally:
        await worker.end()
        reading.close()
