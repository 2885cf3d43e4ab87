"""What is in an image archive.

There are docker's layout (`manifest.json` names a config and layer files), OCI's (`index.json` names manifests by
digest), and the one before docker 1.10 (see `legacy`). Many archives have docker's and OCI's at once.

Members are classified as they come, before it is known what they are for: what begins as JSON is a document and kept
here, what may be a layer has gone to the layer store. Nothing is ever extracted under a name that the archive chose.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from darse.core.errors import InvalidParameter
from darse.image_spec import platforms
from darse.image_spec.digests import digest_of
from darse.image_spec.manifests import Descriptor, Index, Manifest
from darse.image_spec.media_types import INDEXES, MANIFESTS
from darse.image_spec.platforms import Platform
from darse.images.archive import legacy
from darse.images.content.manifests import decode
from darse.images.model import parse_config

_NESTING = 4
_LINKS = 8
_WHAT = "archive"


class ArchiveManifestEntry(msgspec.Struct):
    """An entry of docker's table of contents, `manifest.json`."""

    Config: str
    RepoTags: list[str] = []
    Layers: list[str] = []
    # The id of an image in the same archive.
    Parent: str | msgspec.UnsetType = msgspec.UNSET


class ArchiveLayer(NamedTuple):
    """A layer of an image: the member that holds it, and what a manifest says of it, where there is one."""

    member: str
    blob: Descriptor | None = None


class ArchiveImage(NamedTuple):
    """An image of one platform: its config, and its layers, lowest first."""

    config: bytes
    layers: list[ArchiveLayer]


class ArchiveTarget(NamedTuple):
    """What names in the archive refer to.

    `document` is a manifest or an index of `media_type`, or empty where the archive has only configs; `manifests` are
    an index's documents by digest.
    """

    names: list[str]
    images: list[ArchiveImage]
    document: bytes = b""
    media_type: str = ""
    manifests: Mapping[str, bytes] = MappingProxyType({})


class Contents:
    """The members of an archive by their names: documents, links, and what may be layers."""

    def __init__(self) -> None:
        self.documents: dict[str, bytes] = {}
        self.links: dict[str, str] = {}
        self.layers: set[str] = set()
        # Members of 0 bytes: as layers they are empty.
        self.empty: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return any(name in members for members in (self.documents, self.layers, self.links, self.empty))

    def resolve(self, name: str) -> str:
        """Follow links within the archive. Raises InvalidParameter."""
        for _ in range(_LINKS):
            name = normal(name)
            if name not in self.links:
                break
            name = self.links[name]
        if name not in self.documents and name not in self.layers and name not in self.empty:
            raise InvalidParameter(f"invalid archive: {name} is missing, or no regular file")
        return name

    def document(self, name: str) -> bytes:
        """Return a member that is a document. Raises InvalidParameter."""
        name = self.resolve(name)
        if name not in self.documents:
            raise InvalidParameter(f"invalid archive: {name} is no JSON document")
        return self.documents[name]

    def blob(self, digest: str) -> bytes:
        """Return the document in blob `digest`. Raises InvalidParameter when it is not there, or another."""
        content = self.document(blob_name(digest))
        if digest_of(content) != digest:
            raise InvalidParameter(f"invalid archive: {digest} is {digest_of(content)}")
        return content

    def layer(self, name: str) -> str:
        """Return the member that holds a layer. Raises InvalidParameter."""
        name = self.resolve(name)
        if name not in self.layers and name not in self.empty:
            raise InvalidParameter(f"invalid archive: {name} is no layer")
        return name


def normal(name: str) -> str:
    """A member's name as it is looked up."""
    return posixpath.normpath(name).lstrip("/")


def blob_name(digest: str) -> str:
    """The member that holds a blob in an OCI layout."""
    algorithm, _, encoded = digest.partition(":")
    return f"blobs/{algorithm}/{encoded}"


def find_targets(contents: Contents, requested: Sequence[Platform] = ()) -> list[ArchiveTarget]:
    """List what an archive has, of each target only the images of the platforms `requested`.

    Raises InvalidParameter, also when a platform is not there.

    Of an archive with both layouts, OCI's is taken when it is whole: it has the images of all platforms.
    """
    found: list[ArchiveTarget] = []
    reason: InvalidParameter | None = None
    if "index.json" in contents:
        try:
            found = _oci_layout(contents)
        except InvalidParameter as error:
            reason = error
    if not found and "manifest.json" in contents:
        found = _docker_layout(contents)
    elif not found and reason is None and "repositories" in contents:
        found = _legacy_layout(contents)
    if not found:
        raise reason or InvalidParameter(
            "invalid archive: neither manifest.json nor index.json is in it (to make an image of a root file system, "
            "use import)"
        )
    found = [_of_this_system(one) for one in found]
    return [_of_platforms(one, requested) for one in found] if requested else found


def parents_of(contents: Contents) -> dict[str, str]:
    """The parents that docker's layout gives to images, both by id."""
    if "manifest.json" not in contents:
        return {}
    return {
        digest_of(contents.document(entry.Config)): entry.Parent
        for entry in decode(contents.document("manifest.json"), list[ArchiveManifestEntry], _WHAT)
        if entry.Parent
    }


def _of_this_system(target: ArchiveTarget) -> ArchiveTarget:
    """A target without images of other operating systems. Raises InvalidParameter when there are no others."""
    systems = [parse_config(image.config).platform.os for image in target.images]
    own = platforms.host().os
    if own not in systems:
        raise InvalidParameter(
            f"cannot load {systems[0]} image on {own}: {', '.join(target.names) or 'without a name'}"
        )
    return target._replace(images=[one for one, system in zip(target.images, systems, strict=True) if system == own])


def _of_platforms(target: ArchiveTarget, requested: Sequence[Platform]) -> ArchiveTarget:
    there = [parse_config(image.config).platform for image in target.images]
    for platform in requested:
        if not any(platforms.distance(platform, one) == 0 for one in there):
            raise InvalidParameter(
                f"image {', '.join(target.names) or 'without a name'} was found in the archive but does not provide "
                f"the specified platform ({platform})"
            )
    suiting = [
        image
        for image, its in zip(target.images, there, strict=True)
        if any(platforms.distance(platform, its) == 0 for platform in requested)
    ]
    return target._replace(images=suiting)


def _docker_layout(contents: Contents) -> list[ArchiveTarget]:
    return [
        ArchiveTarget(
            entry.RepoTags,
            [
                ArchiveImage(
                    contents.document(entry.Config), [ArchiveLayer(contents.layer(name)) for name in entry.Layers]
                )
            ],
        )
        for entry in decode(contents.document("manifest.json"), list[ArchiveManifestEntry], _WHAT)
    ]


def _legacy_layout(contents: Contents) -> list[ArchiveTarget]:
    """Before docker 1.10: a directory for each layer, with its own configuration."""
    found: dict[str, ArchiveTarget] = {}
    names = decode(contents.document("repositories"), dict[str, dict[str, str]], _WHAT)
    for repository, tags in names.items():
        for tag, top in tags.items():
            if top not in found:
                steps = legacy.chain(top, lambda one: contents.document(f"{one}/json"))
                layers = [ArchiveLayer(contents.layer(f"{one}/layer.tar")) for one, _ in steps]
                found[top] = ArchiveTarget([], [ArchiveImage(legacy.config([step for _, step in steps]), layers)])
            found[top].names.append(f"{repository}:{tag}")
    return list(found.values())


def _oci_layout(contents: Contents) -> list[ArchiveTarget]:
    found = []
    named = _docker_names(contents)
    for one in decode(contents.document("index.json"), Index, _WHAT).manifests:
        target = _target(contents, one)
        if target is not None:
            names = target.names or [name for image in target.images for name in named.get(digest_of(image.config), [])]
            found.append(target._replace(names=list(dict.fromkeys(names))))
    return _joined(found)


def _docker_names(contents: Contents) -> dict[str, list[str]]:
    """The names that docker's layout gives to configs, by digest; OCI's may lack them."""
    if "manifest.json" not in contents:
        return {}
    return {
        digest_of(contents.document(entry.Config)): entry.RepoTags
        for entry in decode(contents.document("manifest.json"), list[ArchiveManifestEntry], _WHAT)
    }


def _joined(found: list[ArchiveTarget]) -> list[ArchiveTarget]:
    """An index has an entry for each name: join those of one target."""
    joined: dict[bytes, ArchiveTarget] = {}
    for one in found:
        if one.document in joined:
            joined[one.document].names.extend(name for name in one.names if name not in joined[one.document].names)
        else:
            joined[one.document] = one
    return list(joined.values())


def _target(contents: Contents, descriptor: Descriptor) -> ArchiveTarget | None:
    """Read a target; None for what is no image. Of an index, images that are not whole are left out, unless all are."""
    names = _names(descriptor)
    if descriptor.media_type in MANIFESTS:
        document = contents.blob(descriptor.digest)
        if not _is_image(document):
            return None
        return ArchiveTarget(names, [_image(contents, document)], document, descriptor.media_type)
    if descriptor.media_type not in INDEXES:
        return None
    document = contents.blob(descriptor.digest)
    manifests: dict[str, bytes] = {}
    images: list[ArchiveImage] = []
    reason: InvalidParameter | None = None
    for one in _manifests_below(contents, document, manifests, _NESTING):
        if blob_name(one.digest) not in contents:
            continue
        manifests[one.digest] = contents.blob(one.digest)
        if one.attests or not _is_image(manifests[one.digest]):
            continue
        try:
            images.append(_image(contents, manifests[one.digest]))
        except InvalidParameter as error:
            reason = error
    if not images:
        raise reason or InvalidParameter(f"invalid archive: no image of index {descriptor.digest} is in it")
    return ArchiveTarget(names, images, document, descriptor.media_type, manifests)


def _manifests_below(
    contents: Contents, document: bytes, indexes: dict[str, bytes], depth: int
) -> Iterator[Descriptor]:
    """Yield the manifests of an index and of those in it, which are added to `indexes`."""
    for one in decode(document, Index, _WHAT).manifests:
        if one.media_type not in INDEXES:
            yield one
        elif depth == 0:
            raise InvalidParameter("invalid archive: indexes are nested too deeply")
        elif blob_name(one.digest) in contents:
            indexes[one.digest] = contents.blob(one.digest)
            yield from _manifests_below(contents, indexes[one.digest], indexes, depth - 1)


def _image(contents: Contents, document: bytes) -> ArchiveImage:
    manifest = decode(document, Manifest, _WHAT)
    config = contents.blob(manifest.config.digest)
    return ArchiveImage(config, [ArchiveLayer(contents.layer(blob_name(one.digest)), one) for one in manifest.layers])


def _is_image(document: bytes) -> bool:
    """Whether a manifest is an image's; others are of artifacts, such as signatures."""
    return not decode(document, Manifest, _WHAT).artifact


def _names(descriptor: Descriptor) -> list[str]:
    annotations = descriptor.annotations or {}
    name = annotations.get("io.containerd.image.name") or annotations.get("org.opencontainers.image.ref.name", "")
    return [name] if name and (":" in name or "/" in name) else []
