"""Files of URLs as sources.

Whether a file has changed is asked with what the server said of it before (ETag, Last-Modified: RFC 9110, section 13);
what is downloaded to find that out is kept in a file without a name until the tree is made of it.
"""

from __future__ import annotations

import functools
import hashlib
import os
import posixpath
import re
import tempfile
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

import msgspec

from darse.build.errors import BuildError
from darse.build.executor.session import BuildSession
from darse.build.executor.trees import Trees
from darse.build.graph.sources import HTTPSource
from darse.build.solver.operation_executor import Snapshot
from darse.core.errors import EngineError
from darse.images.snapshots.snapshotter import Snapshotter
from darse.images.transfer.service import RegistryService

_FILE_NAME = re.compile(r"""filename\s*=\s*(?:"(?P<quoted>[^"]*)"|(?P<bare>[^;\s]+))""", re.IGNORECASE)
_DEFAULT_NAME = "download"
_DEFAULT_MODE = 0o600
# URLs of which it is remembered what their servers have said.
_MOST_KNOWN = 1000


class _Known(msgspec.Struct, frozen=True):
    """What a server has said of a file, and what it was."""

    validators: dict[str, str]
    digest: str
    name: str
    time_ns: int


class HTTPDownload(msgspec.Struct, frozen=True):
    """A file that was downloaded, and what it is to be called."""

    file: IO[bytes]
    known: _Known


class HTTPSources:
    """Downloads for all builds."""

    def __init__(self, registries: RegistryService, snapshotter: Snapshotter, trees: Trees, directory: Path) -> None:
        """directory: where downloads are until they are used."""
        self._registries = registries
        self._snapshotter = snapshotter
        self._trees = trees
        self._directory = directory
        self._known: dict[str, _Known] = {}

    async def resolve(
        self, session: BuildSession, source: HTTPSource, downloads: dict[HTTPSource, HTTPDownload]
    ) -> str:
        """The identity of a file: its digest, name, mode and owner. Raises BuildError."""
        if source.checksum and source.filename:
            return _identity(source, source.checksum, source.filename)
        known = self._known.get(_key(source))
        download = await self._download(session, source, known)
        if download is not None:
            downloads[source] = download
            known = download.known
        assert known is not None
        return _identity(source, known.digest, known.name)

    async def fetch(
        self, session: BuildSession, source: HTTPSource, downloads: dict[HTTPSource, HTTPDownload]
    ) -> Snapshot:
        """A tree with the file. Raises BuildError."""
        download = downloads.pop(source, None) or await self._download(session, source, None)
        assert download is not None
        with download.file:
            active = self._snapshotter.prepare(())
            try:
                await self._trees.change(active, (), functools.partial(_write, source, download))
                committed = await self._snapshotter.commit(active)
            finally:
                await self._snapshotter.discard(active)
        return Snapshot(committed.id, committed.size)

    async def _download(self, session: BuildSession, source: HTTPSource, known: _Known | None) -> HTTPDownload | None:
        """Download a file; None where the server says that it is what was known of it."""
        headers = dict(source.headers)
        if source.auth_header_secret and (value := session.secrets.get(source.auth_header_secret)) is not None:
            headers["authorization"] = value.decode(errors="surrogateescape").strip()
        if known is not None:
            headers |= known.validators
        file = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115 - it is closed with what holds it
        digest = hashlib.sha256()

        def take(piece: bytes) -> None:
            digest.update(piece)
            file.write(piece)

        try:
            answer = await self._registries.fetch_url(source.url, headers, take)
        except EngineError as error:
            file.close()
            raise BuildError(str(error)) from error
        except BaseException:
            file.close()
            raise
        if answer is None:
            file.close()
            return None
        found = f"sha256:{digest.hexdigest()}"
        if source.checksum and found != source.checksum:
            file.close()
            raise BuildError(f"digest mismatch {found}: {source.checksum}")
        validators = {
            condition: answer[header]
            for header, condition in (("etag", "if-none-match"), ("last-modified", "if-modified-since"))
            if header in answer
        }
        name = source.filename or _name(source.url, answer.get("content-disposition", ""))
        new = _Known(validators, found, name, _time(answer.get("last-modified", "")))
        if validators:
            self._known[_key(source)] = new
            while len(self._known) > _MOST_KNOWN:
                del self._known[next(iter(self._known))]
        return HTTPDownload(file, new)


def _key(source: HTTPSource) -> str:
    return msgspec.json.encode(source).decode()


def _identity(source: HTTPSource, digest: str, name: str) -> str:
    fields = [digest, name, source.permissions, source.uid, source.gid]
    return f"sha256:{hashlib.sha256(msgspec.json.encode(fields)).hexdigest()}"


def _name(url: str, disposition: str) -> str:
    match = _FILE_NAME.search(disposition)
    given = (match["quoted"] or match["bare"] or "") if match is not None else ""
    for text in (given, unquote(urlsplit(url).path)):
        name = posixpath.basename(text)
        if name not in ("", ".", "..") and "\0" not in name:
            return name
    return _DEFAULT_NAME


def _time(text: str) -> int:
    """Nanoseconds since the epoch; the epoch itself where a server says nothing, as with BuildKit."""
    try:
        return int(parsedate_to_datetime(text).timestamp()) * 1_000_000_000
    except (TypeError, ValueError, OverflowError):
        return 0


def _write(source: HTTPSource, download: HTTPDownload, target: int, _roots: Sequence[int]) -> None:
    file = os.open(
        download.known.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=target
    )
    try:
        download.file.flush()
        reading, size, done = download.file.fileno(), os.fstat(download.file.fileno()).st_size, 0
        while done < size:
            done += os.sendfile(file, reading, done, size - done)
        os.fchown(file, source.uid, source.gid)
        os.fchmod(file, _DEFAULT_MODE if source.permissions is None else source.permissions)
        os.utime(file, ns=(download.known.time_ns, download.known.time_ns))
    finally:
        os.close(file)
