"""Contexts as files to give to others: a tar with `meta.json` and the certificates below `tls/`, as docker writes them.

What is imported is somebody else's: of an archive only these names are read, no more than 10 MB of it, and nothing is
unpacked.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from typing import Any

from darse.archive.errors import ArchiveRefused
from darse.archive.extract import entries_in_place
from darse.archive.headers import END, entry_headers, member
from darse.archive.tar import DIRECTORY, REGULAR
from darse.cli.errors import CliError
from darse.cli.settings.contexts import TLS_FILES, Context

_LIMIT = 10 * 1024 * 1024


def pack(context: Context) -> bytes:
    """The archive of a context."""
    meta = json.dumps(context.meta, separators=(",", ":"), ensure_ascii=False).encode()
    members = [member(b"meta.json", meta), entry_headers(b"tls/", DIRECTORY, mode=0o700)]
    if context.tls:
        members.append(entry_headers(b"tls/docker/", DIRECTORY, mode=0o700))
    members += [member(f"tls/docker/{name}".encode(), content, mode=0o600) for name, content in context.tls.items()]
    return b"".join(members) + END


def unpack(name: str, content: bytes) -> Context:
    """The context in an archive, tar or zip, under a name of ours. Raises CliError."""
    if len(content) > _LIMIT:
        raise CliError(f"the context is larger than {_LIMIT >> 20} MB, which none can be")
    try:
        files = _zipped(content) if zipfile.is_zipfile(io.BytesIO(content)) else _tarred(content)
    except (ArchiveRefused, zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise CliError(f"invalid context: it is neither a tar nor a zip archive that can be read: {error}") from error
    if "meta.json" not in files:
        raise CliError("invalid context: no metadata found")
    meta = _meta(files.pop("meta.json"))
    tls = {}
    for path, data in files.items():
        prefix, _, last = path.rpartition("/")
        if prefix != "tls/docker" or last not in TLS_FILES:
            raise CliError(f"invalid context: unexpected file {path}")
        tls[last] = data
    return Context(name, {**meta, "Name": name}, tls)


def _meta(content: bytes) -> dict[str, Any]:
    try:
        meta = json.loads(content)
        host = meta["Endpoints"]["docker"]["Host"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CliError(f"invalid context: its metadata names no engine ({error})") from error
    if not isinstance(host, str):
        raise CliError("invalid context: its metadata names no engine")
    return dict(meta)


def _tarred(content: bytes) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    # Uncompressed: that is all docker takes, and a few bytes could become gigabytes.
    archive = entries_in_place(iter([memoryview(content)]), b"")
    for entry in archive:
        if entry.kind == DIRECTORY:
            continue
        name = os.fsdecode(entry.path)
        if entry.kind != REGULAR or entry.segments is not None:
            raise CliError(f"invalid context: {name} is no file")
        files[_clean(name)] = b"".join(archive.content())
    if not files:
        raise ArchiveRefused("it is empty")
    return files


def _zipped(content: bytes) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    left = _LIMIT
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for member in archive.infolist():
            if member.is_dir():
                continue
            with archive.open(member) as file:
                data = file.read(left + 1)
            left -= len(data)
            if left < 0:
                raise CliError(f"the context is larger than {_LIMIT >> 20} MB, which none can be")
            files[_clean(member.filename)] = data
    return files


def _clean(path: str) -> str:
    return path.removeprefix("./")
