"""`volume graph`: which container mounts which volume, and where; as text or as SVG."""

from __future__ import annotations

import sys
from typing import NamedTuple

from darse.cli.command_line.flags import Command, string
from darse.cli.command_line.help_pages import fitted
from darse.cli.command_line.invocation import Invocation
from darse.cli.errors import CliError
from darse.client.requests import containers, volumes
from darse.drawings.pairs import Box, Line, draw
from darse.natural_order import natural

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from darse.client.documents.containers import ContainerSummaryDocument
    from darse.client.documents.volumes import VolumeDocument

_FORMATS = ("text", "svg")


class MountedIn(NamedTuple):
    """A mount of a volume in a container."""

    container: str
    state: str
    destination: str
    mode: str


class DrawnVolume(NamedTuple):
    """A volume with its mounts."""

    name: str
    driver: str
    mounts: tuple[MountedIn, ...]


def graph(invocation: Invocation) -> int:
    """Print who mounts what."""
    shape = invocation.options.format
    if shape not in _FORMATS:
        raise CliError(f"invalid format {shape!r}: {' or '.join(_FORMATS)}")
    found = invocation.client.do(volumes.list_volumes())["Volumes"] or []
    drawn = arrange(found, invocation.client.do(containers.list_containers(all=True)))
    sys.stdout.write("".join(f"{line}\n" for line in fitted(as_text(drawn))) if shape == "text" else as_svg(drawn))
    return 0


def arrange(volumes: Sequence[VolumeDocument], containers: Sequence[ContainerSummaryDocument]) -> list[DrawnVolume]:
    """What there is to show, from the lists of volumes and of all containers."""
    mounts: dict[str, list[MountedIn]] = {}
    for container in containers:
        name = container["Names"][0].removeprefix("/")
        for mount in container.get("Mounts") or ():
            if mount["Type"] == "volume":
                mode = "rw" if mount["RW"] else "ro"
                one = MountedIn(name, container["State"], mount["Destination"], mode)
                mounts.setdefault(mount["Name"], []).append(one)
    return [
        DrawnVolume(
            volume["Name"],
            volume["Driver"],
            tuple(
                sorted(mounts.get(volume["Name"], ()), key=lambda one: (natural(one.container), one.destination)),
            ),
        )
        for volume in sorted(volumes, key=lambda one: natural(one["Name"]))
    ]


def as_text(volumes: list[DrawnVolume]) -> list[str]:
    """A tree for each volume."""
    lines = []
    for volume in volumes:
        lines.append(f"{volume.name} ({volume.driver})" + ("" if volume.mounts else "  unused"))
        width = max((len(one.container) for one in volume.mounts), default=0)
        for place, one in enumerate(volume.mounts, 1):
            branch = "└── " if place == len(volume.mounts) else "├── "
            lines.append(f"{branch}{one.container.ljust(width)}  {one.destination}  {one.mode}  {one.state}")
    return lines


def as_svg(volumes: list[DrawnVolume]) -> str:
    """Volumes at the left, containers at the right, and a line for each mount."""
    states = {one.container: one.state for volume in volumes for one in volume.mounts}
    return draw(
        [Box(one.name, one.driver) for one in volumes],
        [Box(name, states[name]) for name in sorted(states, key=natural)],
        [
            Line(volume.name, one.container, f"{one.destination} {one.mode}")
            for volume in volumes
            for one in volume.mounts
        ],
    )


GRAPH = (
    Command(
        "volume graph",
        "[OPTIONS]",
        "Show which container mounts which volume, and where",
        (string("format", 'What to print ("text", "svg")', default="text"),),
    ),
    graph,
)
