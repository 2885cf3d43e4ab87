"""Named contexts that are image layouts of this machine: `oci-layout://DIRECTORY[:TAG][@DIGEST]`.

What is sent is a layout of one image, with nothing but what it needs (image-spec, image-layout.md).
"""

from __future__ import annotations

import json
import os

from darse.archive.headers import END, entry_headers, member
from darse.archive.tar import BLOCK, REGULAR
from darse.cli.errors import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

SCHEME = "oci-layout://"
_PIECE = 256 * 1024
_DOCUMENT_LIMIT = 8 << 20
_NAMES = ("org.opencontainers.image.ref.name", "io.containerd.image.name")
_HEX = frozenset("0123456789abcdef")


class ImageLayout:
    """One image of a layout."""

    def __init__(self, text: str) -> None:
        """text: the value of the context. Raises CliError for a layout that is none, or has no such image."""
        path, _, digest = text.removeprefix(SCHEME).partition("@")
        head, slash, tail = path.rpartition("/")
        name, _, tag = tail.partition(":")
        self._directory = head + slash + name
        self._text = text
        if digest:
            self._entry = self._described(digest)
        else:
            self._entry = self._named(tag)
        self.digest: str = self._entry["digest"]
        """Of the manifest or index that is meant."""

    def _named(self, tag: str) -> dict[str, Any]:
        entries = self._document("index.json").get("manifests") or []
        reference = tag or "latest"
        found = [one for one in entries if reference in _tags(one)]
        if not found and not tag and len(entries) == 1:
            found = entries
        if len(found) != 1:
            raise CliError(f"{self._text}: the layout has {'no' if not found else 'more than one'} image {reference}")
        entry: dict[str, Any] = found[0]
        return entry

    def _described(self, digest: str) -> dict[str, Any]:
        document = self._document(_path(digest, self._text))
        kind = "index" if "manifests" in document else "manifest"
        media_type = document.get("mediaType") or f"application/vnd.oci.image.{kind}.v1+json"
        return {"mediaType": media_type, "digest": digest, "size": self._size(digest)}

    def _document(self, name: str) -> dict[str, Any]:
        path = os.path.join(self._directory, name)
        try:
            with open(path, "rb") as file:
                found = json.loads(file.read(_DOCUMENT_LIMIT))
        except OSError as error:
            raise CliError(f"{self._text}: open {path}: {(error.strerror or '').lower()}") from error
        except ValueError as error:
            raise CliError(f"{self._text}: {path} is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise CliError(f"{self._text}: {path} is no document of an image layout")
        return found

    def _size(self, digest: str) -> int:
        try:
            return os.stat(os.path.join(self._directory, _path(digest, self._text))).st_size
        except OSError:
            return -1

    def archive(self) -> Iterator[bytes]:
        """Yield the archive of the image's layout. Raises CliError."""
        entry = {key: self._entry[key] for key in ("mediaType", "digest", "size") if key in self._entry}
        index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
        yield member(b"oci-layout", b'{"imageLayoutVersion":"1.0.0"}') + member(b"index.json", index)
        for digest in dict.fromkeys(self._needed(self.digest)):
            yield from self._blob(digest)
        yield END

    def _needed(self, digest: str) -> Iterator[str]:
        """What of the layout an image needs. Of an index not all images must be there."""
        if self._size(digest) < 0:
            return
        yield digest
        document = self._document(_path(digest, self._text))
        for one in document.get("manifests") or ():
            yield from self._needed(one["digest"])
        for one in (document.get("config"), *(document.get("layers") or ())):
            if one:
                yield one["digest"]

    def _blob(self, digest: str) -> Iterator[bytes]:
        path = _path(digest, self._text)
        try:
            with open(os.path.join(self._directory, path), "rb") as file:
                size = left = os.fstat(file.fileno()).st_size
                yield entry_headers(path.encode(), REGULAR, mode=0o444, size=size)
                while left and (piece := file.read(min(left, _PIECE))):
                    left -= len(piece)
                    yield piece
                yield bytes(left + -size % BLOCK)
        except OSError as error:
            raise CliError(f"{self._text}: {path}: {(error.strerror or '').lower()}") from error


def _tags(entry: dict[str, Any]) -> set[str]:
    names = [name for key in _NAMES if (name := (entry.get("annotations") or {}).get(key))]
    return {name.rpartition(":")[2] for name in names}


def _path(digest: str, text: str) -> str:
    """The name of a blob: a digest comes from a document, and is no path."""
    algorithm, _, digits = digest.partition(":")
    if algorithm != "sha256" or len(digits) != 64 or not _HEX.issuperset(digits):
        raise CliError(f"{text}: invalid digest {digest!r}: must be sha256")
    return f"blobs/sha256/{digits}"
