"""Compressing layers: the forms in which their archives go to registries and into image layouts.

The same archive, form and level always give the same bytes (with the same versions of the compressors). What isal makes
depends on how its input is cut, so it is cut in the same way each time, however it comes.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from darse.core import executors
from darse.core.errors import InvalidParameter
from darse.image_spec.manifests import Descriptor
from darse.image_spec.media_types import OCI_LAYER
from darse.images.layers.store import LayerStore

DEFAULT_GZIP_LEVEL = 2
_DEFAULT_ZSTD_LEVEL = 3
_GZIP_WBITS = 31
# isal has the levels 0 to 3, and is several times as fast as zlib.
_ISAL_LEVELS = 3
_LEVELS = {"gzip": (0, 9), "zstd": (1, 22), "uncompressed": (0, 0)}
_PIECE = 1024 * 1024


class Compressor(Protocol):
    """Compresses one stream."""

    def compress(self, data: bytes, /) -> bytes:
        """Take a piece; return what is ready."""
        ...

    def flush(self) -> bytes:
        """Return the rest."""
        ...


class Compression(msgspec.Struct, frozen=True):
    """A form of layers."""

    kind: str
    """`gzip`, `zstd` or `uncompressed`."""
    level: int | None = None
    """The compressor's; None is its default here."""

    @classmethod
    def parse(cls, kind: str, level: str = "") -> Compression:
        """Of the attributes of an output. Raises InvalidParameter."""
        if kind not in _LEVELS:
            raise InvalidParameter(f"unsupported compression {kind!r}: it is one of {', '.join(_LEVELS)}")
        if not level:
            return cls(kind)
        least, most = _LEVELS[kind]
        if not (level.isascii() and level.isdecimal() and least <= int(level) <= most):
            raise InvalidParameter(f"invalid compression level {level!r}: {kind} has {least} to {most}")
        return cls(kind, int(level))

    @property
    def media_type(self) -> str:
        """Of a layer in this form."""
        return OCI_LAYER if self.kind == "uncompressed" else f"{OCI_LAYER}+{self.kind}"

    def compressor(self) -> Compressor:
        """A new one."""
        if self.kind == "zstd":
            import zstandard  # noqa: PLC0415 - a library of its own size

            level = _DEFAULT_ZSTD_LEVEL if self.level is None else self.level
            return zstandard.ZstdCompressor(level=level).compressobj()
        if self.kind == "uncompressed":
            return _Unchanged()
        level = DEFAULT_GZIP_LEVEL if self.level is None else self.level
        if level <= _ISAL_LEVELS:
            from isal import isal_zlib  # noqa: PLC0415 - as above

            return isal_zlib.compressobj(level=level, wbits=_GZIP_WBITS)
        import zlib  # noqa: PLC0415 - as above

        return zlib.compressobj(level, wbits=_GZIP_WBITS)


class _Unchanged:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


def whole_pieces(reading: int) -> Iterator[bytes]:
    """Yield what a pipe gives in pieces of one size, but for the last. Blocks. Raises OSError."""
    piece = bytearray()
    while data := os.read(reading, _PIECE - len(piece)):
        piece += data
        if len(piece) == _PIECE:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


class ArchivePipe:
    """A layer's archive on its way from what rebuilds it to a thread that compresses it.

    What is compressed ends only when the archive was whole: the pipe's end alone does not say so.
    """

    def __init__(self) -> None:
        """Raises OSError."""
        self._reading, self._writing = os.pipe2(os.O_CLOEXEC)
        self._verdict: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._checksum = hashlib.sha256()
        self.size = 0
        """Bytes that were compressed to, so far."""

    @property
    def digest(self) -> str:
        """Of what was yielded."""
        return f"sha256:{self._checksum.hexdigest()}"

    async def fill(self, layers: LayerStore, chain_id: str) -> None:
        """Write a layer's archive, and close this end. Raises as `LayerStore.write_archive`.

        That the reader has gone is no error here: it says why.
        """
        try:
            await layers.write_archive(chain_id, self._writing)
            self._verdict.set_result(None)
        except BrokenPipeError as error:
            self._verdict.set_exception(error)
        except BaseException as error:
            self._verdict.set_exception(error if isinstance(error, Exception) else RuntimeError("cancelled"))
            raise
        finally:
            os.close(self._writing)

    def compressed(self, compression: Compression, on_read: Callable[[int], None] = lambda _: None) -> Iterator[bytes]:
        """Yield what comes, compressed; `on_read` gets the bytes of each piece. Blocks.

        Raises OSError, and what became of the archive when that is not whole.
        """
        compressor = compression.compressor()
        for piece in whole_pieces(self._reading):
            on_read(len(piece))
            if packed := compressor.compress(piece):
                yield self._counted(packed)
        self._verdict.result()
        yield self._counted(compressor.flush())

    def _counted(self, packed: bytes) -> bytes:
        self._checksum.update(packed)
        self.size += len(packed)
        return packed

    def close(self) -> None:
        """Close the reader's end."""
        os.close(self._reading)


async def compress_layer(layers: LayerStore, chain_id: str, compression: Compression, target: Path) -> Descriptor:
    """Write a layer's archive, compressed, to a new file; return its descriptor. Call it with a lease on the layer.

    The file is not synced. Raises as `LayerStore.write_archive`, and OSError; the file may be there then.
    """
    pipe = ArchivePipe()

    def work() -> None:
        try:
            with open(target, "xb") as file:
                file.writelines(pipe.compressed(compression))
        finally:
            pipe.close()

    task = asyncio.create_task(executors.storage.run(work))
    try:
        await pipe.fill(layers, chain_id)
        await task
    finally:
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # the one that is raised here is the cause
    return Descriptor(compression.media_type, pipe.digest, pipe.size)
