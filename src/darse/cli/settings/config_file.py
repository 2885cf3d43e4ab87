"""Writing the user's `config.json`, which docker's client shares: whole or not at all, and nothing of it lost.

The file may have secrets: it is readable by its owner only. Members that darse does not know are kept. A lock on the
directory keeps two commands from losing what the other wrote; a symbolic link stays one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

from darse.cli.errors import CliError
from darse.cli.output.files import replacing
from darse.cli.settings.config import read_json


def change(directory: str, edit: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Read config.json of a directory, let `edit` change it, and write it; return it. Raises CliError."""
    path = os.path.join(directory, "config.json")
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        target = os.path.realpath(path)
        with _locked(directory):
            document = read_json(path)
            before = json.dumps(document)
            edit(document)
            if json.dumps(document) != before or not os.path.exists(target):
                write_atomically(target, json.dumps(document, indent="\t", ensure_ascii=False).encode())
    except OSError as error:
        raise CliError(f"cannot write {path}: {error.strerror}") from error
    return document


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_atomically(path: str, content: bytes, mode: int = 0o600) -> None:
    """Replace a file, with its owner kept. Raises OSError."""
    with replacing(path) as file:
        os.fchmod(file.fileno(), mode)
        with contextlib.suppress(FileNotFoundError, PermissionError):
            owner = os.stat(path)
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        file.write(content)
