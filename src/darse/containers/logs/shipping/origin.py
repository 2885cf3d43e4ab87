"""The attributes of the container that wrote a log, for a receiver."""

from __future__ import annotations

import socket

import msgspec

from darse.containers.logs.attributes import attributes
from darse.containers.logs.driver_names import is_plugin
from darse.containers.logs.tags import render_tag
from darse.containers.model import Container
from darse.core.documents import DocumentCodec
from darse.core.times import rfc3339

DEFAULT_TAG = "{{.ID}}"


class Origin(msgspec.Struct, frozen=True):
    """A container, its logging driver and options. It is kept with a log that outlives its container."""

    id: str
    name: str
    image_id: str
    image_name: str
    command: str
    created: str
    driver: str
    options: dict[str, str]
    attributes: dict[str, str]
    tag: str
    host: str
    # For plugins, which may be shown all of it.
    environment: list[str] = []
    labels: dict[str, str] = {}
    entrypoint: str = ""
    arguments: list[str] = []

    @property
    def short_id(self) -> str:
        """The digits that people see."""
        return self.id[:12]


ORIGIN_DOCUMENTS = DocumentCodec(Origin)


def origin_of(container: Container) -> Origin:
    """What there is to tell of a container now."""
    record = container.record
    options = dict(record.host.LogConfig.Config or {})
    config, shown = record.config, is_plugin(record.host.LogConfig.Type)
    return Origin(
        id=container.id,
        name=container.name,
        image_id=record.image_id,
        image_name=record.image_reference,
        command=" ".join(record.command),
        created=rfc3339(record.created_ns),
        driver=record.host.LogConfig.Type,
        options=options,
        attributes=attributes(container, tagged=False),
        tag=render_tag(options.get("tag") or DEFAULT_TAG, container),
        host=socket.gethostname(),
        environment=list(config.Env or ()) if shown else [],
        labels=dict(config.Labels or {}) if shown else {},
        entrypoint=record.command[0] if shown and record.command else "",
        arguments=list(record.command[1:]) if shown else [],
    )
