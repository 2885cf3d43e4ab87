"""Removing images and their names, and pruning: docker's rules (see `delete_policy`), events and answers.

What goes is an image that is some targets' default, with these targets, and the images of other platforms that only
they have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from darse.core.errors import Conflict, NotFound
from darse.core.events import EventLog
from darse.core.filters import Filters
from darse.images import platforms, references
from darse.images.content.store import ContentStore
from darse.images.events import publish_image_event
from darse.images.gc import delete_policy
from darse.images.gc.collector import GarbageCollector
from darse.images.gc.delete_policy import Circumstances, ImageUser
from darse.images.layers.compressed import CompressedDigests
from darse.images.layers.disk_usage import DiskUsage
from darse.images.model import Image, Target
from darse.images.platforms import Platform
from darse.images.store import FoundImage, ImageStore
from darse.images.views import created_ns
from darse.wire.images import DeleteItem, ImagesPruned


class ImageDeletion:
    """Removes images."""

    def __init__(
        self,
        store: ImageStore,
        content: ContentStore,
        events: EventLog,
        unused: GarbageCollector,
        disk_usage: DiskUsage,
        blobs: CompressedDigests,
    ) -> None:
        self._store = store
        self._content = content
        self._events = events
        self._unused = unused
        self._disk_usage = disk_usage
        self._blobs = blobs
        # Set by the engine: the containers of an image id.
        self.users: Callable[[str], list[ImageUser]] = lambda _: []

    async def remove(
        self, text: str, *, force: bool, prune: bool, platforms: Sequence[Platform] = ()
    ) -> list[DeleteItem]:
        """Remove a name and, with its last one, the image; with `prune` its untagged parents too.

        With `platforms`, only the images of these go. Raises NotFound, and Conflict in docker's words while containers,
        images or other names need it.
        """
        found = self._store.find(text)
        if platforms:
            return await self._remove_platforms(found, platforms, force=force, prune=prune)
        image = found.image
        if not self._store.targets_of(image.id):
            return await self._remove_variants(
                [image], self._store.targets_of(image.id, any_platform=True), force=force
            )
        items: list[DeleteItem] = []
        names = self._store.names(image.id)
        named = delete_policy.names_meant(found.reference, names) if found.reference is not None else []
        if named:
            if len(named) == len(names):
                _refuse(delete_policy.refusal_by_name(text, self._circumstances(image), force=force))
            items += self._untag(image, named)
            if len(named) < len(names):
                return items
            if delete_policy.refusal(self._circumstances(image), force=force):
                return items  # the name is gone; what is used stays
        else:
            _refuse(delete_policy.refusal(self._circumstances(image), force=force))
        return items + await self._delete(image, prune=prune)

    async def _remove_platforms(
        self, found: FoundImage, wanted: Sequence[Platform], *, force: bool, prune: bool
    ) -> list[DeleteItem]:
        images = self._store.images_of(found.target)
        chosen: list[Image] = []
        for platform in wanted:
            suiting = [image for image in images if platforms.distance(platform, image.platform) == 0]
            if not suiting:
                raise NotFound(f"image does not provide the specified platform ({platform})")
            chosen += suiting
        if len(chosen) == len(images):
            text = str(found.reference) if found.reference is not None else found.image.id
            return await self.remove(text, force=force, prune=prune)
        return await self._remove_variants(chosen, [found.target], force=force)

    async def _remove_variants(self, images: list[Image], targets: list[Target], *, force: bool) -> list[DeleteItem]:
        """Take images of other platforms out of targets of which something remains."""
        for image in images:
            _refuse(delete_policy.refusal(Circumstances(image.id, [], self.users(image.id)), force=force))
        with self._store.changing():
            for target in targets:
                self._store.without(target, [image.id for image in images])
            gone = self._forget([])
        return gone + await self._drop()

    def _circumstances(self, image: Image) -> Circumstances:
        together = {one.id: one for target in self._store.targets_of(image.id) for one in self._store.images_of(target)}
        users = [user for one in together for user in self.users(one)]
        return Circumstances(image.id, self._store.names(image.id), users, self._has_children(image))

    def _has_children(self, image: Image) -> bool:
        return any(one.parent == image.id for one in self._store)

    def _untag(self, image: Image, names: Sequence[str]) -> list[DeleteItem]:
        """Take names from an image; with a repository's last one goes the digest by which a registry has it."""
        gone = {references.parse(name): self._store.digest_named(name) for name in names}
        with self._store.changing():
            for name in names:
                self._store.untag(name)
                publish_image_event(self._events, "untag", image)
        remaining = {references.parse(name).name for name in self._store.names(image.id)}
        told = dict.fromkeys(reference.familiar for reference in gone)
        for reference, digest in gone.items():
            if reference.name not in remaining and self._came_from(image, reference.name):
                told[f"{reference.familiar_name}@{digest}"] = None
        return [DeleteItem(Untagged=text) for text in told]

    def _came_from(self, image: Image, repository: str) -> bool:
        """Whether a repository is known to have all layers of an image: it was pulled from there, or pushed."""
        known = [{blob.repository for blob in self._blobs.known(layer.diff_id)} for layer in image.layers]
        return bool(known) and all(repository in repositories for repositories in known)

    async def _delete(self, image: Image, *, prune: bool) -> list[DeleteItem]:
        with self._store.changing():
            items = self._untag(image, self._store.names(image.id))
            items += self._forget(self._store.targets_of(image.id))
        items += await self._drop()
        parent = self._store.by_id(image.parent) if prune and image.parent else None
        if parent is not None and not self._store.names(parent.id):
            if not self._store.targets_of(parent.id) or delete_policy.refusal(self._circumstances(parent), force=False):
                return items
            items += await self._delete(parent, prune=True)
        return items

    def _forget(self, targets: list[Target]) -> list[DeleteItem]:
        self._unused.going(targets)
        gone = self._store.delete(targets)
        for image in gone:
            publish_image_event(self._events, "delete", image)
        return [DeleteItem(Deleted=image.id) for image in gone]

    async def _drop(self) -> list[DeleteItem]:
        return [DeleteItem(Deleted=chain_id) for chain_id in (await self._unused.remove()).chain_ids]

    async def container_removed(self, image_id: str) -> None:
        """Let the layers go that only a container of a removed image still stood on."""
        if self._store.by_id(image_id) is None:
            await self._unused.remove()

    async def prune(self, filters: Filters) -> ImagesPruned:
        """Remove images that no tag names (or, with `dangling=false`, any that no container uses).

        Without other filters downloads that nobody goes on with are dropped, too.
        """
        only_dangling = filters.flag("dangling") is not False
        until = filters.until_ns()
        items: list[DeleteItem] = []
        for image in self._store:
            if self._store.by_id(image.id) is None or not self._may_be_pruned(image, only_dangling=only_dangling):
                continue
            labels = image.container_config().Labels
            if not filters.labels(labels) or not filters.without_labels(labels):
                continue
            if until is not None and created_ns(image) >= until:
                continue
            with self._store.changing():
                items += self._untag(image, self._store.names(image.id))
                items += self._forget(self._store.targets_of(image.id))
        sizes = await self._disk_usage.of_layers() if items else {}
        gone = await self._unused.remove()
        removed = [DeleteItem(Deleted=chain_id) for chain_id in gone.chain_ids]
        reclaimed = sum(sizes.get(chain_id, 0) for chain_id in gone.chain_ids) + gone.blob_bytes
        if not any(filters.values(key) for key in ("until", "label", "label!")):
            reclaimed += self._content.partials.drop()
        self._events.publish("image", "prune", "", {"reclaimed": reclaimed})
        return ImagesPruned([*items, *removed] or None, reclaimed)

    def _may_be_pruned(self, image: Image, *, only_dangling: bool) -> bool:
        if not self._store.targets_of(image.id):
            return False  # of another platform: it goes with the default of its targets
        it = self._circumstances(image)
        tagged = any(not references.parse(name).digest for name in it.names)
        return not it.users and not it.has_children and not (only_dangling and tagged)


def _refuse(reason: str) -> None:
    if reason:
        raise Conflict(reason)
