"""Images as clients see them: lists, inspect and history.

A list has an entry for each image that is the default of a target. Images for other platforms are in the entry's
`Manifests`, and count in its size.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from darse.core.filters import Filters
from darse.core.object_references import ObjectReferences
from darse.core.times import parse_time, rfc3339
from darse.image_spec.platforms import Platform
from darse.images import attestations, manifest_views, references
from darse.images.content.store import ContentStore
from darse.images.layers.store import LayerStore
from darse.images.model import History, Image, Target, seconds_of
from darse.images.references import Reference
from darse.images.snapshots.service import DRIVER
from darse.images.store import ImageStore
from darse.wire.containers import GraphDriver
from darse.wire.images import (
    AttestationStatement,
    HistoryEntry,
    ImageDefaults,
    ImageInspect,
    ImageRootFS,
    ImageSummary,
    ManifestSummary,
    Metadata,
)

_FOREVER = 1 << 80


class ImageViews:
    """Answers questions about images; changes nothing."""

    def __init__(
        self,
        images: ImageStore,
        content: ContentStore,
        layers: LayerStore,
        users: ObjectReferences,
    ) -> None:
        self._images = images
        self._content = content
        self._layers = layers
        self._users = users

    def list_images(
        self,
        filters: Filters,
        *,
        manifests: bool = False,
        shared_size: bool = False,
        containers: bool = False,
    ) -> list[ImageSummary]:
        """List the images that match, newest first; on demand with manifests, shared sizes and counts of containers."""
        names = self._images.all_names()
        sizes = self._layers.sizes()
        entries: dict[str, list[Target]] = {}
        for target in self._images.targets():
            entries.setdefault(self._images.default(target).id, []).append(target)
        chains = {image_id: self._chains(targets) for image_id, targets in entries.items()}
        shared = _in_several(chains.values()) if shared_size else None
        users = self._users.image_user_counts() if containers else {}
        span = self._span(filters)
        found: list[tuple[int, ImageSummary]] = []
        for image_id, targets in entries.items():
            image = self._images.by_id(image_id)
            assert image is not None
            its_names = names.get(image_id, [])
            if not self._matches(image, its_names, filters, span):
                continue
            summary = self._summary(image, its_names, targets, filters)
            summary.Size = sum(sizes.get(chain, 0) for chain in chains[image_id])
            if shared is not None:
                summary.SharedSize = sum(sizes.get(chain, 0) for chain in chains[image_id] & shared)
            if containers:
                together = {one.id for target in targets for one in self._images.images_of(target)}
                summary.Containers = sum(users.get(one, 0) for one in together)
            if manifests:
                summary.Manifests = self._manifests(targets)
            found.append((image.created_ns, summary))
        return [summary for _, summary in sorted(found, key=lambda pair: (-pair[0], pair[1].Id))]

    def _summary(self, image: Image, names: list[str], targets: list[Target], filters: Filters) -> ImageSummary:
        if filters.values("reference"):
            names = [name for name in names if _reference_matches(_parsed(name), filters)]
        return ImageSummary(
            Id=image.id,
            ParentId=image.parent,
            RepoTags=familiar_tags(names),
            RepoDigests=self._repo_digests(names),
            Created=seconds_of(image.config.created),
            Size=image.size,
            Labels=image.container_config().Labels,
            Descriptor=manifest_views.descriptor(self._foremost(targets).descriptor),
        )

    def _chains(self, targets: Iterable[Target]) -> set[str]:
        return {chain for target in targets for image in self._images.images_of(target) for chain in image.chain_ids}

    def _foremost(self, targets: list[Target]) -> Target:
        """The target with the most platforms, of several with the same default."""
        return max(targets, key=lambda target: (target.is_index, len(self._images.images_of(target))))

    def _manifests(self, targets: list[Target]) -> list[ManifestSummary]:
        return manifest_views.manifests(self._foremost(targets), self._images, self._layers, self._content, self._users)

    def _span(self, filters: Filters) -> range:
        """The nanoseconds in which images that match were made: after all `since`, before all `before` and `until`.

        Raises NotFound and InvalidParameter.
        """
        since = [self._images.find(other).image.created_ns + 1 for other in filters.values("since")]
        before = [self._images.find(other).image.created_ns for other in filters.values("before")]
        until = [parse_time(value, "until") for value in filters.values("until")]
        return range(max(since, default=-_FOREVER), min(before + until, default=_FOREVER))

    def _matches(self, image: Image, names: list[str], filters: Filters, span: range) -> bool:
        dangling = filters.flag("dangling")
        if dangling is not None and dangling == bool(familiar_tags(names)):
            return False
        labels = image.container_config().Labels
        if not filters.labels(labels) or not filters.without_labels(labels):
            return False
        if image.created_ns not in span:
            return False
        return not filters.values("reference") or any(_reference_matches(_parsed(name), filters) for name in names)

    def inspect_image(
        self, reference: str, platform: Platform | None = None, *, manifests: bool = False
    ) -> ImageInspect:
        """Return all that is known of an image; of an index, of its image for `platform`. Raises NotFound."""
        found = self._images.find(reference, platform)
        image = found.image
        names = self._images.names_with(image.id)
        config = image.config
        lower = [str(self._layers.path(chain)) for chain in reversed(image.chain_ids)]
        graph = {"UpperDir": lower[0], "LowerDir": ":".join(lower[1:])} if lower else {}
        return ImageInspect(
            Id=image.id,
            Descriptor=manifest_views.descriptor(found.target.descriptor),
            Manifests=self._manifests([found.target]) if manifests else msgspec.UNSET,
            RepoTags=familiar_tags(names),
            RepoDigests=self._repo_digests(names),
            Parent=image.parent,
            Comment=config.comment,
            Created=config.created or msgspec.UNSET,
            DockerVersion=config.docker_version,
            Author=config.author,
            Config=ImageDefaults.of(config.config),
            Architecture=config.architecture,
            Variant=config.variant or msgspec.UNSET,
            Os=config.os or "linux",
            OsVersion=config.os_version or msgspec.UNSET,
            Size=sum(self._layers.size(chain) for chain in image.chain_ids),
            GraphDriver=GraphDriver(DRIVER, graph),
            RootFS=ImageRootFS("layers", [layer.diff_id for layer in image.layers]),
            Metadata=Metadata(rfc3339(self._images.tagged_ns(image.id))),
        )

    def attestations(
        self, reference: str, platform: Platform | None = None, *, types: Collection[str] = (), statements: bool = False
    ) -> list[AttestationStatement]:
        """Return the attestations of an image; see the module `attestations`. Raises NotFound and SystemFault."""
        return attestations.of_image(
            self._images, self._content, reference, platform, types=types, statements=statements
        )

    def built_from(self, image_id: str) -> tuple[str, dict[str, Any]]:
        """Return the container that an image was built from, and its configuration, as old builders recorded them."""
        document = msgspec.json.decode(self._content.read(image_id), type=dict[str, Any])
        container, config = document.get("container"), document.get("container_config")
        return container if isinstance(container, str) else "", config if isinstance(config, dict) else {}

    def _repo_digests(self, names: list[str]) -> list[str]:
        """A name's repository, with the digest of what the name refers to."""
        return sorted(
            {f"{_parsed(name).familiar_name}@{self._images.digest_named(name)}" for name in names},
        )

    def history(self, reference: str, platform: Platform | None = None) -> list[HistoryEntry]:
        """Return the build steps of an image, the newest first. Raises NotFound."""
        image = self._images.find(reference, platform).image
        layers = iter(image.layers)
        steps = image.config.history or [History(created=image.config.created) for _ in image.layers]
        entries = []
        for step in steps:
            layer = None if step.empty_layer else next(layers, None)
            size = self._layers.size(layer.chain_id) if layer else 0
            entries.append(
                HistoryEntry("<missing>", seconds_of(step.created), step.created_by, None, size, step.comment)
            )
        one: Image | None = image
        end = len(entries)
        while one is not None and end > 0:
            entries[end - 1].Id = one.id
            entries[end - 1].Tags = familiar_tags(self._images.names_with(one.id)) or None
            one = self._images.by_id(one.parent)
            end = min(end - 1, len(one.config.history)) if one is not None else 0
        return entries[::-1]


# A list asks for the same names every time.
_parsed = functools.lru_cache(4096)(references.parse)


def familiar_tags(names: list[str]) -> list[str]:
    """The names with tags, in their short forms; those with a digest belong in RepoDigests."""
    return [reference.familiar for name in names if not (reference := _parsed(name)).digest]


def _in_several(sets: Iterable[set[str]]) -> set[str]:
    seen: set[str] = set()
    several: set[str] = set()
    for one in sets:
        several |= seen & one
        seen |= one
    return several


def _reference_matches(reference: Reference, filters: Filters) -> bool:
    """Whether the filters' `reference` matches a name in its short or full form, with its tag or without."""
    return filters.path("reference", reference.familiar, reference.familiar_name, str(reference), reference.name)
