"""Image archives: what `save` writes and `load` reads.

Two layouts: docker's (`manifest.json` names a config and layer files) and OCI's (`index.json` names manifests by
digest). `save` writes both into one archive, as docker does since 25.0. An archive is indexed once; members are read
by their offset, so nothing of it is ever extracted under a name that it chose.
"""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from darse.engine.errors import InvalidParameter
from darse.images.content import ContentStore
from darse.images.documents import DockerManifest, Index, Manifest, decode
from darse.images.model import (
    CONFIG,
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    INDEX,
    LAYER,
    MANIFEST,
    Descriptor,
    Image,
    digest_of,
)

_SMALL = 8 * 1024 * 1024
_MEMBERS = 200_000
_NESTING = 4
_WHAT = "archive"
_READ_LIMIT = 16 * 1024 * 1024


class Found(NamedTuple):
    """An image in an archive: its config and layers as members, and the names it carries.

    A layer is (member, digest or "", media type); `manifest` the document and its media type where there is one.
    """

    config: str
    layers: list[tuple[str, str, str]]
    names: list[str]
    manifest: tuple[bytes, str] | None = None


class _Bounded(io.BufferedReader):
    """A file that refuses reads no honest archive causes: a long name or extended header may claim gigabytes."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _READ_LIMIT:
            raise ValueError("a header claims to be huge")
        return super().read(size)


class Archive:
    """A tar file on disk, indexed by member name."""

    def __init__(self, file: BinaryIO) -> None:
        """Raises InvalidParameter when it is no tar archive."""
        self._members: dict[str, tarfile.TarInfo] = {}
        try:
            bounded = _Bounded(file)  # type: ignore[arg-type]
            self._tar = tarfile.open(fileobj=bounded, mode="r:")  # noqa: SIM115 - lives as long as this object
            for member in self._tar:
                if len(self._members) >= _MEMBERS:
                    raise InvalidParameter(f"the archive has more than {_MEMBERS} members")
                self._members[posixpath.normpath(member.name).lstrip("/")] = member
        except (tarfile.TarError, EOFError, OverflowError, ValueError, RecursionError) as error:
            raise InvalidParameter(f"invalid archive: {error}") from error

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def open(self, name: str) -> BinaryIO:
        """Open a regular member, following links within the archive. Raises InvalidParameter."""
        for _ in range(8):
            name = posixpath.normpath(name)
            member = self._members.get(name)
            if member is None:
                raise InvalidParameter(f"invalid archive: {name} is missing")
            if member.issym():
                name = posixpath.join(posixpath.dirname(name), member.linkname)
            elif member.islnk():
                name = member.linkname
            elif member.isreg():
                file = self._tar.extractfile(member)
                assert file is not None
                return file  # type: ignore[return-value]
            else:
                break
        raise InvalidParameter(f"invalid archive: {name} is no regular file")

    def small(self, name: str) -> bytes:
        """Return a member that is a document. Raises InvalidParameter when it is missing or huge."""
        with self.open(name) as file:
            content = file.read(_SMALL + 1)
        if len(content) > _SMALL:
            raise InvalidParameter(f"invalid archive: {name} is larger than {_SMALL} bytes")
        return content

    def document(self, digest: str) -> bytes:
        """Return the document in blob `digest`. Raises InvalidParameter when it is not there or another."""
        content = self.small(_blob(digest))
        if digest_of(content) != digest:
            raise InvalidParameter(f"invalid archive: {digest} is {digest_of(content)}")
        return content


def find_images(archive: Archive, architecture: str) -> list[Found]:
    """List the images of an archive. Raises InvalidParameter when there is neither layout."""
    if "manifest.json" in archive:
        return [
            Found(entry.Config, [(name, "", LAYER) for name in entry.Layers], entry.RepoTags)
            for entry in decode(archive.small("manifest.json"), list[DockerManifest], _WHAT)
        ]
    if "index.json" in archive:
        index = decode(archive.small("index.json"), Index, _WHAT)
        images = [
            found
            for one in _suitable(index.manifests, architecture)
            for found in _resolve(archive, one, architecture, _NESTING)
        ]
        if images:
            return images
        raise InvalidParameter(f"invalid archive: no image in it is for linux/{architecture}")
    raise InvalidParameter(
        "invalid archive: neither manifest.json nor index.json is in it (to make an image of a root file system, "
        "use import)"
    )


def _resolve(archive: Archive, descriptor: Descriptor, architecture: str, depth: int) -> Iterator[Found]:
    """Follow a descriptor through indexes to the manifests that suit this machine."""
    annotations = descriptor.annotations or {}
    name = annotations.get("io.containerd.image.name") or annotations.get("org.opencontainers.image.ref.name", "")
    names = [name] if name and (":" in name or "/" in name) else []
    if descriptor.media_type in (INDEX, DOCKER_INDEX):
        if depth == 0:
            raise InvalidParameter("invalid archive: indexes are nested too deeply")
        for one in _suitable(decode(archive.document(descriptor.digest), Index, _WHAT).manifests, architecture):
            for found in _resolve(archive, one, architecture, depth - 1):
                yield found._replace(names=names or found.names)
    elif descriptor.media_type in (MANIFEST, DOCKER_MANIFEST):
        document = archive.document(descriptor.digest)
        manifest = decode(document, Manifest, _WHAT)
        archive.document(manifest.config.digest)
        layers = [(_blob(layer.digest), layer.digest, layer.media_type) for layer in manifest.layers]
        yield Found(_blob(manifest.config.digest), layers, names, (document, descriptor.media_type))


def _suitable(manifests: list[Descriptor], architecture: str) -> list[Descriptor]:
    """Those for this machine, and those that say nothing of the machine."""
    return [
        one
        for one in manifests
        if (one.platform or {}).get("architecture", architecture) == architecture
        and (one.platform or {}).get("os", "linux") == "linux"
    ]


def _blob(digest: str) -> str:
    algorithm, _, encoded = digest.partition(":")
    return f"blobs/{algorithm}/{encoded}"


def write(images: list[tuple[Image, list[str]]], content: ContentStore) -> Iterator[bytes]:
    """Yield an archive of `images`, each with the names it is to carry."""
    written: set[str] = set()
    for image, _ in images:
        for descriptor in (image.manifest, Descriptor(CONFIG, image.id, image.config_size), *_blobs(image)):
            if descriptor.digest not in written:
                written.add(descriptor.digest)
                yield from _member(_blob(descriptor.digest), content.path(descriptor.digest), descriptor.size)
    index = Index(
        [
            msgspec.structs.replace(
                image.manifest,
                annotations={"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
                if name
                else None,
            )
            for image, names in images
            for name in names or [""]
        ],
        media_type=INDEX,
    )
    manifest = [
        DockerManifest(_blob(image.id), names, [_blob(blob.digest) for blob in _blobs(image)])
        for image, names in images
    ]
    yield from _document("index.json", msgspec.json.encode({"schemaVersion": 2} | msgspec.to_builtins(index)))
    yield from _document("manifest.json", msgspec.json.encode(manifest))
    yield from _document("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def _blobs(image: Image) -> list[Descriptor]:
    return [layer.blob for layer in image.layers]


def _member(name: str, path: Path, size: int) -> Iterator[bytes]:
    yield _header(name, size)
    with open(path, "rb") as file:
        while piece := file.read(1024 * 1024):
            yield piece
    yield b"\0" * (-size % tarfile.BLOCKSIZE)


def _document(name: str, content: bytes) -> Iterator[bytes]:
    yield _header(name, len(content))
    yield content + b"\0" * (-len(content) % tarfile.BLOCKSIZE)


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o644
    return member.tobuf(tarfile.PAX_FORMAT)
