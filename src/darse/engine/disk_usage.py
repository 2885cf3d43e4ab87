"""The sums of `system df`: what of the images, containers and volumes is in use, and what a prune would free."""

from __future__ import annotations

from darse.wire.containers import ContainerSummary
from darse.wire.images import ImageSummary
from darse.wire.system import ObjectUsage
from darse.wire.volumes import UsageData, Volume

_ACTIVE = frozenset({"running", "paused", "restarting"})


def of_images(images: list[ImageSummary], on_disk: int) -> ObjectUsage[ImageSummary]:
    """Images by what containers use of them; `on_disk` is what all of them take together, in bytes."""
    used = sum(one.Size - one.SharedSize for one in images if one.Containers)
    active = sum(one.Containers > 0 for one in images)
    return ObjectUsage(active, len(images), max(0, on_disk - used), on_disk, images)


def of_containers(containers: list[ContainerSummary]) -> ObjectUsage[ContainerSummary]:
    """Containers, with what they have written themselves; those that do not run can go."""
    written = [(one.SizeRw if isinstance(one.SizeRw, int) else 0, one.State in _ACTIVE) for one in containers]
    active = sum(runs for _, runs in written)
    reclaimable = sum(size for size, runs in written if not runs)
    return ObjectUsage(active, len(containers), reclaimable, sum(size for size, _ in written), containers)


def of_volumes(volumes: list[Volume]) -> ObjectUsage[Volume]:
    """Volumes; those that no container refers to can go."""
    known = [one.UsageData for one in volumes if isinstance(one.UsageData, UsageData)]
    stored = [(max(one.Size, 0), one.RefCount) for one in known]
    active = sum(count > 0 for _, count in stored)
    reclaimable = sum(size for size, count in stored if count == 0)
    return ObjectUsage(active, len(volumes), reclaimable, sum(size for size, _ in stored), volumes)
