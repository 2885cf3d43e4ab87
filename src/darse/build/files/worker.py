"""Applies a group of file actions in a process that sees nothing but the trees: for archives, which anybody wrote.

    python -I -S -c '…' EMPTY ROOTS

Descriptors: 0 the job, 1 takes the answer, 3 the tree that is changed, from 4 on as many trees as ROOTS says. EMPTY is
an empty directory, which becomes the root. The answer is empty, or a kind and a text with a NUL between them: `refused`
is for the client, `system` has a number before its text.

As `darse.archive.worker`, it gives up all but what it needs before it reads the first byte of an archive: a decoder
that is made to run somebody's code finds no files but those trees, no network, no processes, and no privileges but to
make files with their owners.
"""

from __future__ import annotations

import os
import sys

import msgspec

from darse.archive.stream import BZIP2, GZIP, XZ, ZSTD, prepare_for
from darse.build.errors import BuildError
from darse.build.files import apply_change
from darse.build.files.groups import TreeChange
from darse.linux.proc import sandbox

TARGET, FIRST_ROOT = 3, 4
_MEMORY = 1 << 30
_FILES = 4096


class UnpackJob(msgspec.Struct, frozen=True):
    """What is to be done; `numbers` are the trees of the roots, in their order."""

    changes: tuple[TreeChange, ...]
    numbers: tuple[int, ...]


def main() -> None:
    """Do the job that is on descriptor 0."""
    empty, roots = sys.argv[1], int(sys.argv[2])
    os.umask(0)
    job = msgspec.json.decode(_read(0), type=UnpackJob)
    for magic in (GZIP, ZSTD, XZ, BZIP2):
        prepare_for(magic)
    import re2  # noqa: F401, PLC0415 - later nothing can be loaded

    try:
        sandbox.enter(empty, sandbox.WRITE_TREES, memory=_MEMORY, open_files=_FILES)
        by_number = dict(zip(job.numbers, range(FIRST_ROOT, FIRST_ROOT + roots), strict=True))
        for one in job.changes:
            apply_change(one.change, TARGET, by_number.get(one.source, -1), by_number.__getitem__)
    except BuildError as error:
        _answer("refused", str(error))
    except OSError as error:
        named = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        _answer("system", str(error.errno or 0), f"{named}{os.strerror(error.errno or 0).lower()}")
    except MemoryError:
        _answer("refused", "the archive needs too much memory")
    except Exception as error:  # the interpreter would look for the source in order to show it
        _answer("fault", f"{type(error).__name__}: {error}")
    os._exit(0)


def _read(descriptor: int) -> bytes:
    pieces = []
    while piece := os.read(descriptor, 1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def _answer(*words: str) -> None:
    os.write(1, b"\0".join(word.encode(errors="surrogateescape") for word in words)[:4096])
