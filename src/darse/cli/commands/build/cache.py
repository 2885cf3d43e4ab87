"""`builder du` and `builder prune`: the build cache."""

from __future__ import annotations

import re
import sys

from darse.cli.command_line.flags import Command, listing, parse_filters, string, switch
from darse.cli.command_line.invocation import Invocation, confirm
from darse.cli.commands.pruning import CACHES, filters_of
from darse.cli.creating.values import size
from darse.cli.output.cache_rows import HEADINGS, SPARE, CacheRow
from darse.cli.output.format import FORMAT_HELP, write
from darse.client.requests import builds, system
from darse.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_TABLE = "table {{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}"
_QUESTION = "Are you sure you want to continue?"


def disk_usage(invocation: Invocation) -> int:
    """Print the records, and what they take together."""
    options = invocation.options
    usage = invocation.client.do(system.disk_usage(["build-cache"]))
    filters = parse_filters(options.filter) or {}
    records = [one for one in usage.get("BuildCache") or () if _matches(one, filters)]
    rows = [CacheRow(one, truncate=not options.verbose) for one in records]
    source = _TABLE if options.format in ("", "table") else options.format
    write(source, rows, HEADINGS, may_fit=source == _TABLE and not options.verbose, spare=SPARE)
    if not options.format:
        total = sum(one["Size"] for one in records)
        reclaimable = sum(one["Size"] for one in records if not one["InUse"])
        sys.stdout.write(f"Reclaimable:\t{human_size(reclaimable)}\nTotal:\t\t{human_size(total)}\n")
    return 0


def _matches(record: Mapping[str, Any], filters: Mapping[str, list[str]]) -> bool:
    facts = {
        "id": record["ID"],
        "type": record["Type"],
        "parent": (record.get("Parents") or [""])[0],
        "inuse": str(record["InUse"]).lower(),
        "shared": str(record["Shared"]).lower(),
        "private": str(not record["Shared"]).lower(),
    }
    return all(
        re.search(value, record["Description"]) is not None
        if name == "description"
        else facts.get(name, value) == (value or "true")
        for name, values in filters.items()
        for value in values
    )


def prune(invocation: Invocation) -> int:
    """Remove what nobody uses."""
    options = invocation.options
    warning = CACHES.all_warning if options.all else CACHES.warning
    if not options.force and not confirm(f"{warning}\n{_QUESTION}"):
        return 0
    reserved = options.reserved_space or options.keep_storage
    request = builds.prune_cache(
        all=options.all,
        reserved_space=size(reserved, "reserved-space") if reserved else None,
        max_used_space=size(options.max_used_space, "max-used-space") if options.max_used_space else None,
        filters=filters_of(invocation) or None,
    )
    result = invocation.client.do(request)
    if deleted := result.get("CachesDeleted"):
        sys.stdout.write("\n".join([CACHES.title, *deleted]) + "\n\n")
    sys.stdout.write(f"Total reclaimed space: {human_size(result.get('SpaceReclaimed', 0))}\n")
    return 0


COMMANDS = {
    "builder du": (
        Command(
            "builder du",
            "[OPTIONS]",
            "Show what the build cache has",
            (
                listing("filter", "Provide filter values", value="filter"),
                string("format", FORMAT_HELP),
                switch("verbose", "Do not truncate ids"),
            ),
        ),
        disk_usage,
    ),
    "builder prune": (
        Command(
            "builder prune",
            "[OPTIONS]",
            "Remove build cache",
            (
                switch("all", "Remove all unused build cache, not just dangling ones", "a"),
                listing("filter", 'Provide filter values (e.g., "until=24h")', value="filter"),
                switch("force", "Do not prompt for confirmation", "f"),
                string("keep-storage", "Amount of disk space to keep for cache (deprecated)", value="bytes"),
                string("reserved-space", "Amount of disk space always allowed to keep for cache", value="bytes"),
                string("max-used-space", "Maximum amount of disk space allowed to keep for cache", value="bytes"),
            ),
        ),
        prune,
    ),
}
