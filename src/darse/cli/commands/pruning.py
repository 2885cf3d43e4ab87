"""Removing what is not used: what `prune` of each kind asks, does and prints, also for `system prune`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from darse.cli.command_line.flags import parse_filters
from darse.cli.command_line.invocation import Invocation, confirm
from darse.client.requests import ApiRequest, builds, containers, images, networks, volumes
from darse.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from darse.client.blocking import Client

_QUESTION = "Are you sure you want to continue?"


class Kind(NamedTuple):
    """A kind of object: what asks for pruning it, what its list is called, and what is asked before."""

    request: Callable[..., ApiRequest[Any, Mapping[str, Any]]]
    title: str
    member: str
    warning: str
    all_warning: str = ""


CONTAINERS = Kind(
    containers.prune, "Deleted Containers:", "ContainersDeleted", "WARNING! This will remove all stopped containers."
)
NETWORKS = Kind(
    networks.prune,
    "Deleted Networks:",
    "NetworksDeleted",
    "WARNING! This will remove all custom networks not used by at least one container.",
)
VOLUMES = Kind(
    volumes.prune,
    "Deleted Volumes:",
    "VolumesDeleted",
    "WARNING! This will remove anonymous local volumes not used by at least one container.",
    "WARNING! This will remove all local volumes not used by at least one container.",
)
IMAGES = Kind(
    images.prune,
    "Deleted Images:",
    "ImagesDeleted",
    "WARNING! This will remove all dangling images.",
    "WARNING! This will remove all images without at least one container associated to them.",
)


CACHES = Kind(
    builds.prune_cache,
    "Deleted build cache objects:",
    "CachesDeleted",
    "WARNING! This will remove all dangling build cache.",
    "WARNING! This will remove all build cache.",
)


def filters_of(invocation: Invocation) -> dict[str, list[str]]:
    """The filters of the command line and, where they do not contradict, the `pruneFilters` of config.json."""
    given = parse_filters(invocation.options.filter) or {}
    for entry in invocation.settings.member("pruneFilters", list):
        name, equals, value = str(entry).partition("=")
        opposite = {"label": "label!", "label!": "label"}.get(name, "")
        if equals and value not in given.get(opposite, ()):
            given.setdefault(name, []).append(value)
    return given


def prune(client: Client, kind: Kind, filters: dict[str, list[str]]) -> tuple[int, str]:
    """Remove; return the bytes that were freed and what to print of it."""
    result = client.do(kind.request(filters=filters or None))
    deleted = result.get(kind.member) or []
    if not deleted:
        return 0, ""
    return int(result.get("SpaceReclaimed", 0)), "\n".join([kind.title, *map(_line, deleted)]) + "\n"


def _line(item: str | dict[str, str]) -> str:
    if isinstance(item, str):
        return item
    return f"untagged: {item['Untagged']}" if item.get("Untagged") else f"deleted: {item.get('Deleted', '')}"


def command(
    kind: Kind, extend: Callable[[Invocation, dict[str, list[str]]], None] | None = None, *, shows_space: bool = True
) -> Callable[[Invocation], int]:
    """The function of a prune command; `extend` adds to the filters."""

    def run(invocation: Invocation) -> int:
        options = invocation.options
        filters = filters_of(invocation)
        if extend is not None:
            extend(invocation, filters)
        wants_all = getattr(options, "all", False) if kind.all_warning else False
        warning = kind.all_warning if wants_all else kind.warning
        if not options.force and not confirm(f"{warning}\n{_QUESTION}"):
            return 0
        freed, text = prune(invocation.client, kind, filters)
        if text:
            sys.stdout.write(text + "\n")
        if shows_space:
            sys.stdout.write(f"Total reclaimed space: {human_size(freed)}\n")
        return 0

    return run
