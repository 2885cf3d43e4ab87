"""Contexts as files to give to others: a tar with `meta.json` and the certificates below `tls/`, as docker writes them.

What is imported is somebody else's: of an archive only these names are read, no more than 10 MB of it, and nothing is
unpacked.
"""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from typing import Any

from darse.cli.errors import CliError
from darse.cli.settings.contexts import TLS_FILES, Context

_LIMIT = 10 * 1024 * 1024


def pack(context: Context) -> bytes:
    """The archive of a context."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        meta = json.dumps(context.meta, separators=(",", ":"), ensure_ascii=False).encode()
        _add(archive, "meta.json", meta, 0o644)
        _add_directory(archive, "tls")
        if context.tls:
            _add_directory(archive, "tls/docker")
        for name, content in context.tls.items():
            _add(archive, f"tls/docker/{name}", content, 0o600)
    return buffer.getvalue()


def unpack(name: str, content: bytes) -> Context:
    """The context in an archive, tar or zip, under a name of ours. Raises CliError."""
    if len(content) > _LIMIT:
        raise CliError(f"the context is larger than {_LIMIT >> 20} MB, which none can be")
    try:
        files = _zipped(content) if zipfile.is_zipfile(io.BytesIO(content)) else _tarred(content)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError) as error:
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
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        for member in archive:
            if member.isdir():
                continue
            file = archive.extractfile(member) if member.isreg() and not member.sparse else None
            if file is None:
                raise CliError(f"invalid context: {member.name} is no file")
            files[_clean(member.name)] = file.read()
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


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    archive.addfile(member, io.BytesIO(content))


def _add_directory(archive: tarfile.TarFile, name: str) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, 0o700
    archive.addfile(member)
