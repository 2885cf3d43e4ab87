# ruff: noqa: N802 - methods of rows are named as the placeholders
"""`system df`: what takes how much room."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, ClassVar

from darse.cli.command_line.flags import Command, string, switch
from darse.cli.command_line.invocation import Invocation
from darse.cli.output import cache_rows, container_rows, image_rows, volume_rows
from darse.cli.output.format import FORMAT_HELP, Format, Row, write
from darse.client.requests import system
from darse.image_spec.references import familiar
from darse.units import human_size

_HEADINGS = {
    "Type": "TYPE",
    "TotalCount": "TOTAL",
    "Active": "ACTIVE",
    "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}
_TABLE = "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}"
_RAW = "type: {{.Type}}\ntotal: {{.TotalCount}}\nactive: {{.Active}}\nsize: {{.Size}}\nreclaimable: {{.Reclaimable}}\n"
_IMAGES = (
    "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t"
    "{{.Containers}}"
)
_CONTAINERS = (
    "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}"
)
_VOLUMES = "table {{.Name}}\t{{.Links}}\t{{.Size}}"
_CACHE = "table {{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}"
# What a narrow terminal can be without, the least useful first.
_SPARE_IMAGES = ("CREATED", "SHARED SIZE", "IMAGE ID")
_ACTIVE = frozenset({"running", "paused", "restarting"})


class UsageRow(Row):
    """A kind of object: how many, how many in use, bytes, bytes that pruning would free."""

    GO_NAME: ClassVar[str] = "*formatter.diskUsageContext"

    def __init__(self, kind: str, count: int, active: int, size: int, reclaimable: int, *, percent: bool) -> None:
        super().__init__({})
        self._kind, self._count, self._active, self._size = kind, count, active, size
        self._reclaimable, self._percent = reclaimable, percent

    def Type(self) -> str:
        return self._kind

    def TotalCount(self) -> str:
        return str(self._count)

    def Active(self) -> str:
        return str(self._active)

    def Size(self) -> str:
        return human_size(self._size)

    def Reclaimable(self) -> str:
        text = human_size(self._reclaimable)
        return f"{text} ({self._reclaimable * 100 // self._size}%)" if self._percent and self._size > 0 else text


class AllUsage(Row):
    """What `system df -v --format` looks into."""

    GO_NAME: ClassVar[str] = "*formatter.diskUsageContext"
    JSON_ORDER: ClassVar[tuple[str, ...]] = ("Images", "Containers", "Volumes", "BuildCache")

    def __init__(self, usage: Mapping[str, Any], *, truncate: bool) -> None:
        super().__init__(usage, truncate=truncate)
        self._images = [image_row(one, truncate) for one in usage.get("Images") or ()]
        self._containers = [
            container_rows.ContainerRow({**one, "SizeRootFs": 0}, truncate=truncate)
            for one in usage.get("Containers") or ()
        ]
        self._volumes = [volume_rows.VolumeRow(one) for one in usage.get("Volumes") or ()]
        self._caches = [
            cache_rows.CacheRow({"Parents": None, **one}, truncate=truncate)
            for one in sorted(usage.get("BuildCache") or (), key=cache_rows.last_used)
        ]

    def Images(self) -> list[image_rows.ImageRow]:
        return self._images

    def Containers(self) -> list[container_rows.ContainerRow]:
        return self._containers

    def Volumes(self) -> list[volume_rows.VolumeRow]:
        return self._volumes

    def BuildCache(self) -> list[cache_rows.CacheRow]:
        return self._caches


def image_row(image: Mapping[str, Any], truncate: bool) -> image_rows.ImageRow:
    """An image under its first name."""
    tag = next(iter(image.get("RepoTags") or ()), "<none>:<none>")
    repository, _, name = tag.rpartition(":")
    return image_rows.ImageRow(image, (familiar(repository), name, ""), truncate=truncate)


def _rows(usage: Mapping[str, Any]) -> list[UsageRow]:
    images, containers, volumes = (usage.get(name) or [] for name in ("Images", "Containers", "Volumes"))
    caches = usage.get("BuildCache") or []
    layers = usage.get("LayersSize", 0)
    known = [one for one in images if one["Containers"] != 0 and -1 not in (one["Size"], one.get("SharedSize", -1))]
    used = sum(one["Size"] - one["SharedSize"] for one in known)
    written = [(one.get("SizeRw", 0), one["State"] in _ACTIVE) for one in containers]
    stored = [(max(one["UsageData"]["Size"], 0), one["UsageData"]["RefCount"]) for one in volumes]
    return [
        UsageRow(
            "Images", len(images), sum(one["Containers"] > 0 for one in images), layers, layers - used, percent=True
        ),
        UsageRow(
            "Containers",
            len(written),
            sum(active for _, active in written),
            sum(size for size, _ in written),
            sum(size for size, active in written if not active),
            percent=True,
        ),
        UsageRow(
            "Local Volumes",
            len(stored),
            sum(count > 0 for _, count in stored),
            sum(size for size, _ in stored),
            sum(size for size, count in stored if count == 0),
            percent=True,
        ),
        UsageRow(
            "Build Cache",
            len(caches),
            sum(one["InUse"] for one in caches),
            sum(one["Size"] for one in caches if not one["Shared"]),
            sum(one["Size"] for one in caches if not one["Shared"] and not one["InUse"]),
            percent=False,
        ),
    ]


def disk_usage(invocation: Invocation) -> int:
    """Print it: per kind, or with `-v` per object."""
    options = invocation.options
    usage = invocation.client.do(system.disk_usage())
    source = options.format or "table"
    if options.verbose:
        _verbose(usage, source)
        return 0
    source = {"table": _TABLE, "raw": _RAW}.get(source, source)
    write(source, _rows(usage), _HEADINGS, may_fit=source == _TABLE)
    return 0


def _verbose(usage: Mapping[str, Any], source: str) -> None:
    everything = AllUsage(usage, truncate=source.startswith("table"))
    if source == "table":
        for title, form, rows, headings, spare in (
            ("Images space usage:\n\n", _IMAGES, everything.Images(), image_rows.HEADINGS, _SPARE_IMAGES),
            ("\nContainers space usage:\n\n", _CONTAINERS, everything.Containers(), container_rows.HEADINGS, ()),
            ("\nLocal Volumes space usage:\n\n", _VOLUMES, everything.Volumes(), volume_rows.HEADINGS, ()),
        ):
            sys.stdout.write(title)
            write(form, rows, headings, may_fit=True, spare=spare)
        caches = everything.BuildCache()
        total = human_size(sum(one.document["Size"] for one in caches if not one.document["Shared"]))
        sys.stdout.write(f"\nBuild cache usage: {total}\n\n")
        write(_CACHE, caches, cache_rows.HEADINGS, may_fit=True, spare=cache_rows.SPARE)
        return
    sys.stdout.write(Format(source).row(everything))


COMMANDS = {
    "system df": (
        Command(
            "system df",
            "[OPTIONS]",
            "Show disk usage",
            (string("format", FORMAT_HELP), switch("verbose", "Show detailed information on space usage", "v")),
        ),
        disk_usage,
    )
}
