"""The containers that run, for the services below: their processes, and who holds their network stacks."""

from __future__ import annotations

from darse.containers.networking.endpoints import holder
from darse.containers.store import ContainerStore
from darse.networks.model import Holder


class RunningContainers:
    """What the store knows of those that run now."""

    def __init__(self, store: ContainerStore) -> None:
        self._store = store

    def pids(self) -> dict[str, int]:
        """The pid of each, by its id."""
        return {container.id: container.state.pid for container in self._store if container.state.alive}

    def holder_of(self, container_id: str) -> Holder | None:
        """Who holds the network stack of a container; None when it does not run."""
        container = self._store.find(container_id)
        return holder(container) if container is not None and container.state.alive else None
