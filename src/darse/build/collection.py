"""What is collected of the build cache without being asked for."""

from __future__ import annotations

from darse.build.solver import CacheFilter, PrunePolicy, RecordKind

#: Of the file system of the data root: a tenth may be cache, and two gigabytes in any case.
CACHE_SHARE = 10
LEAST_CACHE = 2 << 30
_TWO_DAYS, _TWO_MONTHS, _LARGE = 48 * 3600, 60 * 24 * 3600, 512 << 20


def collection_policies(limit: int) -> list[PrunePolicy]:
    """What is collected without being asked for, as by dockerd: one after the other; `limit` is bytes of all records.

    Sources and cache mounts of two days ago go where they are large, results of two months ago, then the least used.
    """
    large = [
        PrunePolicy((CacheFilter("type", "==", kind.value),), keep_duration=_TWO_DAYS, max_used_space=_LARGE)
        for kind in (RecordKind.LOCAL, RecordKind.CACHE_MOUNT, RecordKind.GIT)
    ]
    return [*large, PrunePolicy(keep_duration=_TWO_MONTHS, max_used_space=limit), PrunePolicy(max_used_space=limit)]
