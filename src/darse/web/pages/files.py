"""Files of a container: directories, texts, downloads and uploads, through the engine's archives.

Names are for everybody who may look. What is in files may be a password, as the environment: it is for those who
operate. Whoever writes a container's programs runs them, and its binds are the host's: uploads are for those who
have its console, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import posixpath
import stat
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from aiohttp.multipart import BodyPartReader, MultipartReader

from darse.aiohttp_server import StreamResponse
from darse.client.errors import ApiError, ClientError
from darse.client.requests import archives, containers
from darse.go_modes import GO_TYPES, KERNEL_KINDS, permissions
from darse.web.accounts import Role
from darse.web.errors import InvalidForm, PageNotFound, Refused, SlowRequest, UploadTooLarge
from darse.web.pages.container_views import printable
from darse.web.routing import PageRoutes
from darse.web.visit import Visit
from darse.wire.archives import ContainerPathStat

PAGES = PageRoutes()
_SHOWN_BYTES = 256 * 1024
_SHOWN_ENTRIES = 2000
_LONGEST_NAME = 255
UPLOAD_LIMIT = 16 * 1024 * 1024
_UPLOAD_SECONDS = 600.0
_BLOCK = 512
# What aiohttp raises for a body that is none of a form.
_NO_FORM = (AssertionError, ValueError, LookupError)
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}


class FileEntry(NamedTuple):
    """A row of a directory; `path` is where its link leads."""

    name: str
    kind: str
    mode: str
    size: int
    changed: str
    path: str
    target: str


@PAGES.get("/containers/{id}/files", Role.LOOK)
async def files_page(visit: Visit) -> StreamResponse:
    """A directory, or the text of a file."""
    path = _path(visit.query("path", "/"))
    found = await visit.do(containers.inspect(visit.match["id"]))
    listing = await visit.do(archives.files(found.Id, path))
    kind = _kind(listing.stat)
    if kind == "link":
        return visit.redirect(_address(found.Id, listing.stat.linkTarget))
    values: dict[str, Any] = {"container": found, "tab": "files", "place": path, "above": _above(path), "kind": kind}
    if kind == "directory":
        entries = [_entry(path, one) for one in listing.entries[:_SHOWN_ENTRIES]]
        entries.sort(key=lambda one: one.kind != "directory")
        is_shortened = listing.isShortened or len(listing.entries) > _SHOWN_ENTRIES
        return visit.render("files.html", entries=entries, is_shortened=is_shortened, **values)
    text = None
    if kind == "file" and visit.session.role >= Role.OPERATE:
        text = await _text(visit, found.Id, path)
    return visit.render("file.html", file=_entry(_above(path), listing.stat), text=text, **values)


@PAGES.get("/containers/{id}/files/download", Role.OPERATE, stream=True)
async def download(visit: Visit) -> StreamResponse:
    """A file as it is, a directory as an archive. Raises PageNotFound for what is neither."""
    name, path = visit.match["id"], _path(visit.query("path"))
    kind = _kind((await visit.do(archives.files(name, path))).stat)
    async with contextlib.AsyncExitStack() as stack:
        archive = await stack.enter_async_context(contextlib.aclosing(visit.read(archives.archive(name, path))))
        pieces: AsyncIterator[bytes] = archive
        size = None
        shown = posixpath.basename(path) or "root"
        if kind == "file":
            size, pieces = await _content(archive)
        elif kind == "directory":
            shown += ".tar"
        else:
            raise PageNotFound
        headers = {
            "Content-Type": "application/octet-stream",
            # RFC 6266; a file of a container is never a page of this site.
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(shown, safe='')}",
            "Content-Security-Policy": "sandbox",
        }
        response = StreamResponse(headers=visit.stream_headers(**headers))
        response.content_length = size
        await response.prepare(visit.request)
        try:
            async for piece in pieces:
                await response.write(piece)
        except (ClientError, ConnectionError):
            # Whoever has asked must not take a part for the whole.
            if visit.request.transport is not None:
                visit.request.transport.abort()
    return response


@PAGES.post("/containers/{id}/files", Role.ADMINISTRATE, upload=True)
async def upload(visit: Visit) -> StreamResponse:
    """Put a file into a directory. Raises InvalidForm, Refused, and UploadTooLarge."""
    name, path = visit.match["id"], _path(visit.query("path"))
    visit.match = {**visit.match, "path": path}
    try:
        async with asyncio.timeout(_UPLOAD_SECONDS):
            file_name, content = await _uploaded(visit)
    except TimeoutError as error:
        raise SlowRequest from error
    visit.match = {**visit.match, "path": posixpath.join(path, file_name)}
    try:
        await visit.do(archives.put_archive(name, path, _archive(file_name, content), keep_kinds=True))
    except ApiError as error:
        visit.fail(error)
        return visit.redirect(_address(name, path))
    return visit.redirect(_address(name, path), "files.uploaded", name=file_name)


async def _uploaded(visit: Visit) -> tuple[str, bytearray]:
    """The file of a form; the session's token comes before it. Raises InvalidForm, Refused, and UploadTooLarge."""
    reader = await _authorized(visit)
    try:
        file = await reader.next()
        if not isinstance(file, BodyPartReader) or file.name != "file":
            raise InvalidForm("file")
        file_name = (file.filename or "").replace("\\", "/").rpartition("/")[2]
        if file_name in ("", ".", "..") or "\0" in file_name or len(file_name.encode()) > _LONGEST_NAME:
            raise InvalidForm("file")
        content = bytearray()
        while piece := await file.read_chunk(64 * 1024):
            content += piece
            if len(content) > UPLOAD_LIMIT:
                raise UploadTooLarge(f"{UPLOAD_LIMIT >> 20} MiB")
    except _NO_FORM as error:
        raise InvalidForm("file") from error
    return file_name, content


async def _authorized(visit: Visit) -> MultipartReader:
    """A form that has begun with the session's token. Raises Refused."""
    try:
        reader = await visit.request.multipart()
        first = await reader.next()
        token = await first.read_chunk(1024) if isinstance(first, BodyPartReader) and first.name == "csrf" else b""
    except _NO_FORM as error:
        raise Refused("token") from error
    if not visit.session.has_token(token.decode(errors="replace")):
        raise Refused("token")
    return reader


def _archive(name: str, content: bytearray) -> bytes:
    """An archive of one file, which is root's."""
    import tarfile  # noqa: PLC0415 - for who moves files

    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = len(content), int(time.time()), 0o644
    padding = bytes(-len(content) % _BLOCK)
    return b"".join((entry.tobuf(tarfile.PAX_FORMAT), content, padding, bytes(2 * _BLOCK)))


async def _text(visit: Visit, container: str, path: str) -> str | None:
    """The beginning of a file; None when it is no text."""
    async with contextlib.aclosing(visit.read(archives.archive(container, path))) as archive:
        _, pieces = await _content(archive)
        data = bytearray()
        async for piece in pieces:
            data += piece
            if len(data) >= _SHOWN_BYTES:
                break
    if b"\0" in data:
        return None
    lines = data[:_SHOWN_BYTES].decode(errors="replace").split("\n")
    return "\n".join(printable(line) for line in lines)


async def _content(archive: AsyncIterator[bytes]) -> tuple[int, AsyncIterator[bytes]]:
    """The size and the content of the one file in an archive. Raises PageNotFound for what is no file."""
    import tarfile  # noqa: PLC0415

    data, size = bytearray(), -1
    while True:
        await _fill(archive, data, _BLOCK)
        head = tarfile.TarInfo.frombuf(bytes(data[:_BLOCK]), "utf-8", "surrogateescape")
        del data[:_BLOCK]
        if head.type not in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
            break
        padded = head.size + -head.size % _BLOCK
        await _fill(archive, data, padded)
        # POSIX.1-2001: `LENGTH size=NUMBER` where the number does not fit into the header.
        for record in bytes(data[: head.size]).split(b"\n"):
            if record.partition(b" ")[2].startswith(b"size="):
                size = int(record.partition(b"=")[2])
        del data[:padded]
    if head.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise PageNotFound
    size = head.size if size < 0 else size

    async def pieces() -> AsyncIterator[bytes]:
        left = size
        piece = bytes(data)
        while left:
            if piece:
                yield piece[:left]
                left -= len(piece[:left])
            if left and not (piece := await anext(archive, b"")):
                raise ConnectionError("the archive ends within a file")

    return size, pieces()


async def _fill(archive: AsyncIterator[bytes], data: bytearray, length: int) -> None:
    while len(data) < length:
        piece = await anext(archive, b"")
        if not piece:
            raise ConnectionError("the archive ends within a header")
        data += piece


def _path(text: str) -> str:
    """An absolute path without detours. Raises InvalidForm."""
    if "\0" in text or len(text) > 4096:
        raise InvalidForm("path")
    return posixpath.normpath("/" + text.lstrip("/"))


def _above(path: str) -> str:
    return posixpath.dirname(path)


def _address(container: str, path: str) -> str:
    return f"/containers/{quote(container, safe='')}/files?{urlencode({'path': path})}"


def _kind(found: ContainerPathStat) -> str:
    return _KINDS.get(stat.S_IFMT(_mode(found)), "other")


def _mode(found: ContainerPathStat) -> int:
    """The mode as stat(2) has it."""
    return KERNEL_KINDS.get(found.mode & GO_TYPES, 0) | permissions(found.mode)


def _entry(directory: str, found: ContainerPathStat) -> FileEntry:
    kind = _kind(found)
    path = found.linkTarget if kind == "link" else posixpath.join(directory, found.name)
    return FileEntry(found.name, kind, stat.filemode(_mode(found)), found.size, found.mtime, path, found.linkTarget)
