"""Making a container of one that another engine had: its id, name, files and last end are kept.

What the other engine has decided is not decided again: its configuration was merged with the image's, and its volumes
have their files. What has to fit this engine and host is checked as for any new container.
"""

from __future__ import annotations

import os

import msgspec

from darse.containers.lifecycle.create import Creation, Fill, check_name
from darse.containers.model import Container, Record, RunState
from darse.core.errors import Conflict, InvalidParameter
from darse.core.exhaustion import in_words
from darse.volumes.mounts import MountPlan, parse_mounts
from darse.wire.containers import CreateRequest


class AdoptedContainer(msgspec.Struct, frozen=True, kw_only=True):
    """A container as the other engine had it."""

    id: str
    name: str
    created_ns: int
    image_id: str
    # What its creator called the image.
    image_reference: str
    # Its whole configuration, that of its image included.
    request: CreateRequest
    # Its volumes and binds, also those that the request does not name.
    mounts: list[MountPlan]
    state: RunState
    fill: Fill


class Adoption(Creation):
    """Makes such containers."""

    async def adopt(self, found: AdoptedContainer) -> None:
        """Make the container; all of it is there afterwards, or nothing.

        Raises NotFound for its image, Conflict for its name or id, InvalidParameter, SystemFault, and what `fill` does.
        """
        dependencies = self._dependencies
        if dependencies.store.find(found.id) is not None:
            raise Conflict(f"container {found.id} exists already")
        name = check_name(found.name)
        dependencies.store.refuse_taken(name)
        image = dependencies.images.by_id(found.image_id)
        if image is None:
            raise InvalidParameter(f"its image {found.image_id} is not there")
        host = self.with_defaults(found.request.HostConfig)
        if host.Runtime not in dependencies.runtimes:
            host.Runtime = dependencies.config.default_runtime
        self._check_options(found.request, host)
        config = found.request.container_config()
        self._check_config(config, host)
        endpoints = self._endpoints(host, found.request)
        data_root = os.path.realpath(dependencies.config.data_root)
        plans = parse_mounts(host, config.Volumes, None, found.mounts, data_root=data_root)
        links = self._links.resolve(host.Links or (), host.NetworkMode)
        host.Links = None
        record = Record(
            id=found.id,
            name=name,
            created_ns=found.created_ns,
            image_id=image.id,
            image_reference=found.image_reference,
            config=config,
            host=host,
            endpoints=endpoints,
            mounts=plans,
            links=links,
        )
        container = Container(record, RunState())
        with dependencies.traces.record("create", container.id), in_words():
            await self._make(container, image, await self._mounted.resolve(plans), found.state, found.fill)
