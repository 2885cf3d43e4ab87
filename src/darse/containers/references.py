"""What containers use of other rooms: images, volumes, networks, and who of them runs."""

from __future__ import annotations

from darse.containers.networking.endpoints import holder
from darse.containers.store import ContainerStore
from darse.images import ImageUser
from darse.networks.model import Holder


class ContainerReferences:
    """Answers who uses something."""

    def __init__(self, store: ContainerStore) -> None:
        self._store = store

    def image_users(self, image_id: str) -> list[ImageUser]:
        """The containers of an image, and those that mount it.

        One whose record is damaged counts as running: its image is to be there when the record is.
        """
        return [ImageUser(one, True) for one in self._store.damaged_of(image_id)] + [
            ImageUser(container.id, container.state.active)
            for container in self._store.everything()
            if container.record.image_id == image_id
            or any(plan.type == "image" and plan.source == image_id for plan in container.record.mounts)
        ]

    def volume_users(self, name: str, *, running: bool = False) -> list[str]:
        """The containers that mount a volume."""
        return [
            container.id
            for container in self._store.everything()
            if (container.state.active or not running)
            and any(plan.type == "volume" and plan.name == name for plan in container.record.mounts)
        ]

    def network_users(self, name: str) -> list[str]:
        """The containers that are, or are to be, connected to a network."""
        return [container.id for container in self._store.everything() if name in container.record.endpoints]

    def running(self) -> dict[str, int]:
        """The pid of each running container."""
        return {container.id: container.state.pid for container in self._store if container.state.alive}

    def holder_of(self, container_id: str) -> Holder | None:
        """Who holds the network stack of a container; None when it does not run."""
        container = self._store.find(container_id)
        return holder(container) if container is not None and container.state.alive else None
