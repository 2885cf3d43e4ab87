"""Removing images and their names, and pruning: docker's rules (see `removal`), events and answers."""

from __future__ import annotations

from collections.abc import Callable

from darse.engine.errors import Conflict
from darse.engine.events import EventLog
from darse.engine.filters import Filters
from darse.images import references, removal
from darse.images.model import Image
from darse.images.removal import ImageUser
from darse.images.store import ImageStore
from darse.images.unused import Unused
from darse.images.views import unix
from darse.wire.images import DeleteItem, ImagesPruned


class Removing:
    """Removes images."""

    def __init__(self, store: ImageStore, events: EventLog, unused: Unused) -> None:
        self._store = store
        self._events = events
        self._unused = unused
        # Set by the engine: the containers of an image id.
        self.users: Callable[[str], list[ImageUser]] = lambda _: []

    async def remove(self, text: str, *, force: bool, prune: bool) -> list[DeleteItem]:
        """Remove a name and, with its last one, the image.

        Raises NotFound, and Conflict in docker's words while containers or other names need it.
        """
        del prune  # there are no untagged parents to keep
        found = self._store.find(text)
        image, reference = found.image, found.reference
        names = self._store.names(image.id)
        users = self.users(image.id)
        named = removal.names_meant(reference, names) if reference is not None else []
        if named and len(named) < len(names):
            return self._untag(image, named)
        refusal = removal.refusal(image.id, text, names, users, by_name=bool(named), force=force)
        if refusal:
            raise Conflict(refusal)
        items = self._untag(image, names)
        # Forced, and by name: the name goes, and a container that runs keeps the image. A stopped one keeps only
        # the layers, which is what it needs to be started again.
        if not any(user.running for user in users):
            items += await self._delete([image])
        return items

    def _untag(self, image: Image, names: list[str]) -> list[DeleteItem]:
        items = []
        for name in names:
            familiar = references.parse(name).familiar
            with self._store.changing():
                self._store.untag(name)
                self._events.publish("image", "untag", image.id, {"name": familiar})
            items.append(DeleteItem(Untagged=familiar))
        return items

    async def _delete(self, images: list[Image]) -> list[DeleteItem]:
        with self._store.changing():
            targets = [target for image in images for target in self._store.targets_of(image.id)]
            gone = self._store.delete(targets)
            for image in gone:
                self._events.publish("image", "delete", image.id, {"name": image.id})
        layers = await self._unused.remove()
        return [DeleteItem(Deleted=image.id) for image in gone] + [DeleteItem(Deleted=chain) for chain in layers]

    async def container_removed(self, image_id: str) -> None:
        """Let the layers go that only a container of a removed image still stood on."""
        if self._store.by_id(image_id) is None:
            await self._unused.remove()

    async def prune(self, filters: Filters, bytes_stored: Callable[[], int]) -> ImagesPruned:
        """Remove images that nothing names (or, with `dangling=false`, that no container uses)."""
        only_dangling = filters.flag("dangling") is not False
        until = filters.until_ns()
        before = bytes_stored()
        items: list[DeleteItem] = []
        chosen: list[Image] = []
        for image in self._store:
            names = self._store.names(image.id)
            if (only_dangling and names) or self.users(image.id):
                continue
            labels = image.container_config().Labels
            if not filters.labels(labels) or not filters.without_labels(labels):
                continue
            if until is not None and unix(image.config.created) * 1_000_000_000 >= until:
                continue
            items += self._untag(image, names)
            chosen.append(image)
        items += await self._delete(chosen)
        reclaimed = before - bytes_stored()
        self._events.publish("image", "prune", "", {"reclaimed": reclaimed})
        return ImagesPruned(items or None, reclaimed)
