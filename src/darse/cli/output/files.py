"""Files that commands write: each is there whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from typing import IO

from darse.cli.errors import CliError


def write_whole(path: str, pieces: Iterable[bytes], what: str) -> None:
    """Write what a command makes into a file. Raises CliError that begins with `what` has failed, and OSError.

    A link is followed. A device is refused, as docker does: for root a rename would put a file in its place.
    """
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory):
        raise CliError(f"{what}: invalid output path: stat {directory}: no such file or directory")
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        mode = os.stat(path).st_mode
        kind = "a device" if stat.S_ISBLK(mode) or stat.S_ISCHR(mode) else "an irregular file"
        raise CliError(
            f'{what}: invalid output path: "{path}" must be a directory or a regular file: got {kind}; '
            "without -o it goes to standard output"
        )
    with replacing(os.path.realpath(path)) as file:
        for piece in pieces:
            file.write(piece)


@contextlib.contextmanager
def replacing(path: str) -> Iterator[IO[bytes]]:
    """A file to write aside, its owner's alone; at the end of the block it is flushed and renamed to `path`.

    A reader sees the old or the new one, also after a power cut; what fails leaves nothing. Raises OSError.
    """
    import tempfile

    prefix = f".{os.path.basename(path)}-"
    with tempfile.NamedTemporaryFile(dir=os.path.dirname(path) or ".", prefix=prefix, delete=False) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.rename(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
