"""What clients see of containers: lists and inspections.

Answers are made of the records and states in memory. Sizes are measured only when the client asks for them, since that
reads every file of the writable layers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable, Mapping

from darse.containers import views
from darse.containers.dependencies import Dependencies
from darse.containers.exec.service import ExecService
from darse.containers.list_filters import ContainerFilter
from darse.containers.model import Container, Status
from darse.containers.networking.endpoints import Endpoints
from darse.containers.networking.links import Links
from darse.core.cooperative import in_turns
from darse.core.errors import EngineError, InvalidParameter, NotFound
from darse.core.filters import Filters
from darse.images.snapshots.service import DRIVER
from darse.runtime.oci.process import apparmor_profile
from darse.runtime.oci.security import read_security_options
from darse.wire.containers import ContainerInspect, ContainerSummary, GraphDriver


class ContainerListing:
    """Lists and inspects containers."""

    def __init__(self, dependencies: Dependencies, endpoints: Endpoints, links: Links, execs: ExecService) -> None:
        self._dependencies = dependencies
        self._store = dependencies.store
        self._endpoints = endpoints
        self._links = links
        self._execs = execs

    async def inspect_container(self, reference: str, *, size: bool) -> ContainerInspect:
        """The whole of a container. Raises NotFound."""
        container = self._store.get(reference)
        overlay = self._dependencies.snapshots.overlay(container.id)
        graph = GraphDriver(
            DRIVER,
            {
                "ID": container.id,
                "LowerDir": ":".join(overlay.lower),
                "MergedDir": str(self._dependencies.files.of(container.id).bundle.rootfs),
                "UpperDir": overlay.upper,
                "WorkDir": overlay.work,
            },
        )
        return views.inspect(
            container,
            self._dependencies.files.of(container.id),
            self._endpoints.settings(container),
            graph,
            self._execs.of_container(container.id),
            self._links.inspect_links(container),
            await self._sizes(container) if size else None,
            apparmor_profile(
                read_security_options(container.record.host.SecurityOpt),
                self._dependencies.facts,
                privileged=container.record.host.Privileged,
            ),
        )

    async def _sizes(self, container: Container) -> views.Sizes | None:
        """Bytes of a container's files; None when they cannot be counted, which is no reason to show none of others."""
        try:
            return views.Sizes(*await self._dependencies.snapshots.usage(container.id))
        except (OSError, EngineError) as error:
            if container.state.status is not Status.REMOVING:
                self._dependencies.log.warning("container %s: its size is not known: %s", container.id[:12], error)
            return None

    async def list_containers(
        self, filters: Filters, *, everything: bool, limit: int, size: bool
    ) -> list[ContainerSummary]:
        """The containers that match, newest first. Raises InvalidParameter and NotFound for filters."""
        chosen = ContainerFilter(filters, self._store.get, self._built_on, self._endpoints.settings)
        everything = everything or limit > 0 or chosen.shows_stopped
        containers = [
            container
            for container in sorted(self._store.visible(), key=lambda one: -one.record.created_ns)
            if (everything or container.state.active) and chosen.matches(container)
        ]
        shown = containers[:limit] if limit > 0 else containers
        sizes = await asyncio.gather(*map(self._sizes, shown)) if size else [None] * len(shown)
        called = {
            (record.image_reference, record.image_id): self._dependencies.images.displayed_name(
                record.image_reference, record.image_id
            )
            for record in (one.record for one in shown)
        }
        return await in_turns(self._summaries(shown, sizes, called))

    def _summaries(
        self, shown: list[Container], sizes: Iterable[views.Sizes | None], called: Mapping[tuple[str, str], str]
    ) -> Generator[None, None, list[ContainerSummary]]:
        """Yields after each: a thousand take a tenth of a second on a busy machine."""
        summaries = []
        for one, sizes_of_one in zip(shown, sizes, strict=True):
            image = called[one.record.image_reference, one.record.image_id]
            links = self._links.given_names(one)
            summaries.append(views.summary(one, image, self._endpoints.settings(one), sizes_of_one, links))
            yield
        return summaries

    def _built_on(self, reference: str) -> set[str]:
        """The ids of an image and of those that were made from it; none when there is no such image."""
        images = self._dependencies.images
        try:
            base = images.get_image(reference)
        except (NotFound, InvalidParameter):
            return set()
        return images.made_from(base)
