"""Delete images and their names, and prune: docker's rules (see `delete_policy`), events and answers.

An image that is the default of targets is deleted with these targets, and with the images of other platforms that are
in no other target.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from darse.core import executors
from darse.core.errors import Conflict, NotFound
from darse.core.events import EventLog
from darse.core.filters import Filters
from darse.core.object_references import ObjectReferences
from darse.image_spec import platforms
from darse.image_spec.platforms import Platform
from darse.images import references
from darse.images.content.store import ContentStore
from darse.images.events import publish_image_event
from darse.images.gc import delete_policy
from darse.images.gc.collector import GarbageCollector
from darse.images.gc.delete_policy import DeleteContext
from darse.images.layers.compressed import CompressedDigests
from darse.images.layers.disk_usage import LayerDiskUsage
from darse.images.model import Image, Target
from darse.images.store import FoundImage, ImageStore
from darse.wire.images import DeleteItem, ImagesPruned


class ImageDeletion:
    """Deletes images."""

    def __init__(
        self,
        images: ImageStore,
        content: ContentStore,
        events: EventLog,
        gc: GarbageCollector,
        disk_usage: LayerDiskUsage,
        compressed: CompressedDigests,
        users: ObjectReferences,
    ) -> None:
        self._images = images
        self._content = content
        self._events = events
        self._gc = gc
        self._disk_usage = disk_usage
        self._compressed = compressed
        self._users = users

    async def remove_image(
        self, text: str, *, force: bool, prune: bool, platforms: Sequence[Platform] = ()
    ) -> list[DeleteItem]:
        """Remove a name and, with its last one, the image; with `prune` its untagged parents too.

        With `platforms`, only the images of these are removed. Raises NotFound, and Conflict in docker's words while
        containers, images or other names need it.
        """
        found = self._images.find(text)
        if platforms:
            return await self._remove_platforms(found, platforms, force=force, prune=prune)
        image = found.image
        if not self._images.targets_of(image.id):
            return await self._remove_variants(
                [image], self._images.targets_of(image.id, any_platform=True), force=force
            )
        items: list[DeleteItem] = []
        names = self._images.names(image.id)
        named = delete_policy.names_meant(found.reference, names) if found.reference is not None else []
        if named:
            if len(named) == len(names):
                _refuse(delete_policy.name_conflict(text, self._circumstances(image), force=force))
            items += self._untag(image, named)
            if len(named) < len(names):
                return items
            if delete_policy.image_conflict(self._circumstances(image), force=force):
                return items  # the name is removed; an image in use stays
        else:
            _refuse(delete_policy.image_conflict(self._circumstances(image), force=force))
        return items + await self._delete(image, prune=prune)

    async def _remove_platforms(
        self, found: FoundImage, requested: Sequence[Platform], *, force: bool, prune: bool
    ) -> list[DeleteItem]:
        images = self._images.images_of(found.target)
        chosen: list[Image] = []
        for platform in requested:
            suiting = [image for image in images if platforms.distance(platform, image.platform) == 0]
            if not suiting:
                raise NotFound(f"image does not provide the specified platform ({platform})")
            chosen += suiting
        if len(chosen) == len(images):
            text = str(found.reference) if found.reference is not None else found.image.id
            return await self.remove_image(text, force=force, prune=prune)
        return await self._remove_variants(chosen, [found.target], force=force)

    async def _remove_variants(self, images: list[Image], targets: list[Target], *, force: bool) -> list[DeleteItem]:
        """Take images of other platforms out of targets that keep other images."""
        for image in images:
            _refuse(
                delete_policy.image_conflict(
                    DeleteContext(image.id, [], self._users.image_users(image.id)), force=force
                )
            )
        with self._images.changing():
            for target in targets:
                self._images.without(target, [image.id for image in images])
            gone = self._delete_targets([])
        return gone + await self._collect()

    def _circumstances(self, image: Image) -> DeleteContext:
        together = {
            one.id: one for target in self._images.targets_of(image.id) for one in self._images.images_of(target)
        }
        users = [user for one in together for user in self._users.image_users(one)]
        return DeleteContext(image.id, self._images.names(image.id), users, self._has_children(image))

    def _has_children(self, image: Image) -> bool:
        return any(one.parent == image.id for one in self._images)

    def _untag(self, image: Image, names: Sequence[str]) -> list[DeleteItem]:
        """Remove names of an image; with a repository's last one, the digest in that repository counts as untagged."""
        gone = {references.parse(name): self._images.digest_named(name) for name in names}
        with self._images.changing():
            for name in names:
                self._images.untag(name)
                publish_image_event(self._events, "untag", image)
        remaining = {references.parse(name).name for name in self._images.names(image.id)}
        untagged = dict.fromkeys(reference.familiar for reference in gone)
        for reference, digest in gone.items():
            if reference.name not in remaining and self._came_from(image, reference.name):
                untagged[f"{reference.familiar_name}@{digest}"] = None
        return [DeleteItem(Untagged=text) for text in untagged]

    def _came_from(self, image: Image, repository: str) -> bool:
        """Whether a repository is known to have all layers of an image: it was pulled from there, or pushed."""
        known = [{blob.repository for blob in self._compressed.known(layer.diff_id)} for layer in image.layers]
        return bool(known) and all(repository in repositories for repositories in known)

    async def _delete(self, image: Image, *, prune: bool) -> list[DeleteItem]:
        with self._images.changing():
            items = self._untag(image, self._images.names(image.id))
            items += self._delete_targets(self._images.targets_of(image.id))
        items += await self._collect()
        parent = self._images.by_id(image.parent) if prune and image.parent else None
        if parent is not None and not self._images.names(parent.id):
            if not self._images.targets_of(parent.id) or delete_policy.image_conflict(
                self._circumstances(parent), force=False
            ):
                return items
            items += await self._delete(parent, prune=True)
        return items

    def _delete_targets(self, targets: list[Target]) -> list[DeleteItem]:
        self._gc.mark_documents(targets)
        gone = self._images.delete_targets(targets)
        for image in gone:
            publish_image_event(self._events, "delete", image)
        return [DeleteItem(Deleted=image.id) for image in gone]

    async def _collect(self) -> list[DeleteItem]:
        return [DeleteItem(Deleted=chain_id) for chain_id in (await self._gc.collect()).chain_ids]

    async def container_removed(self, image_id: str) -> None:
        """Collect the layers that only a container of a removed image still needed."""
        if self._images.by_id(image_id) is None:
            await self._gc.collect()

    async def prune_images(self, filters: Filters) -> ImagesPruned:
        """Remove images without a tag (or, with `dangling=false`, every image that no container uses).

        Without other filters, partial downloads that no pull is at work on are removed, too.
        """
        only_dangling = filters.flag("dangling") is not False
        until = filters.until_ns()
        items: list[DeleteItem] = []
        for image in self._images:
            await asyncio.sleep(0)  # each has transactions of its own
            if self._images.by_id(image.id) is None or not self._may_be_pruned(image, only_dangling=only_dangling):
                continue
            labels = image.container_config().Labels
            if not filters.labels(labels) or not filters.without_labels(labels):
                continue
            if until is not None and image.created_ns >= until:
                continue
            with self._images.changing():
                items += self._untag(image, self._images.names(image.id))
                items += self._delete_targets(self._images.targets_of(image.id))
        sizes = await self._disk_usage.of_layers() if items else {}
        gone = await self._gc.collect()
        removed = [DeleteItem(Deleted=chain_id) for chain_id in gone.chain_ids]
        reclaimed = sum(sizes.get(chain_id, 0) for chain_id in gone.chain_ids) + gone.blob_bytes
        if not any(filters.values(key) for key in ("until", "label", "label!")):
            reclaimed += await executors.storage.run(self._content.ingests.remove_ingests)
        self._events.publish("image", "prune", "", {"reclaimed": reclaimed})
        return ImagesPruned([*items, *removed] or None, reclaimed)

    def _may_be_pruned(self, image: Image, *, only_dangling: bool) -> bool:
        if not self._images.targets_of(image.id):
            return False  # of another platform: it is removed with the default of its targets
        it = self._circumstances(image)
        tagged = any(not references.parse(name).digest for name in it.names)
        return not it.users and not it.has_children and not (only_dangling and tagged)


def _refuse(reason: str) -> None:
    if reason:
        raise Conflict(reason)
