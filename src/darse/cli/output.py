"""Writing what a command makes into a file: it is there whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable

from darse.cli.errors import CliError


def write_whole(path: str, pieces: Iterable[bytes], what: str) -> None:
    """Write a file aside, flush it, and rename it into place. Raises CliError that begins with `what` has failed."""
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory):
        raise CliError(f"{what}: invalid output path: stat {directory}: no such file or directory")
    import tempfile

    with tempfile.NamedTemporaryFile(dir=directory, prefix=".tmp-", delete=False) as file:
        try:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
            os.rename(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
