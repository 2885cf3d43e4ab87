# ruff: noqa: N802 - methods are named as the placeholders
"""A record of the build cache as a row: the placeholders of `builder du --format`."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, ClassVar

from darse.cli.output.format import Row, ago
from darse.units import human_size

HEADINGS = {
    "ID": "CACHE ID",
    "Parent": "PARENT",
    "CacheType": "CACHE TYPE",
    "Size": "SIZE",
    "CreatedAt": "CREATED AT",
    "CreatedSince": "CREATED",
    "LastUsedAt": "LAST USED AT",
    "LastUsedSince": "LAST USED",
    "UsageCount": "USAGE",
    "Shared": "SHARED",
    "Description": "DESCRIPTION",
    "InUse": "IN USE",
}
_SHORT = 12
#: What a narrow terminal can be without, the least useful first.
SPARE = ("CREATED", "USAGE", "CACHE TYPE")


def last_used(record: Mapping[str, Any]) -> tuple[str, str]:
    """By this docker's client sorts records: what was never used first, then by the last use, and by the id."""
    return str(record.get("LastUsedAt") or "").removesuffix("Z"), str(record["ID"])


class CacheRow(Row):
    """A record."""

    GO_NAME: ClassVar[str] = "*formatter.buildCacheContext"

    def ID(self) -> str:
        text = str(self.document["ID"])
        text = text[:_SHORT] if self.truncate else text
        return f"{text}*" if self.document["InUse"] else text

    def Parent(self) -> str:
        # Of API versions before 1.42; docker's client leaves it empty since then, and shows no `Parents`.
        return str(self.document.get("Parent") or "")[: _SHORT if self.truncate else None]

    def CacheType(self) -> str:
        return str(self.document["Type"])

    def Size(self) -> str:
        return human_size(self.document["Size"], 3)

    def CreatedSince(self) -> str:
        return ago(seconds_of(self.document["CreatedAt"]))

    def CreatedAt(self) -> str:
        return _shown(self.document["CreatedAt"])

    def LastUsedAt(self) -> str:
        return _shown(self.document.get("LastUsedAt") or "")

    def LastUsedSince(self) -> str:
        return ago(seconds_of(self.document["LastUsedAt"])) if self.document.get("LastUsedAt") else ""

    def UsageCount(self) -> str:
        return str(self.document["UsageCount"])

    def Shared(self) -> str:
        return str(self.document["Shared"]).lower()

    def Description(self) -> str:
        return str(self.document["Description"])

    def InUse(self) -> str:
        return str(self.document["InUse"]).lower()


def _shown(time: str) -> str:
    """A time of RFC 3339 in UTC as Go's `Time.String` writes it."""
    return f"{time.removesuffix('Z').replace('T', ' ')} +0000 UTC" if time else ""


def seconds_of(time: str) -> float:
    """A time of the API, since the epoch."""
    # RFC 3339 in UTC; no Python takes nanoseconds.
    return datetime.datetime.fromisoformat(f"{time[:19]}+00:00").timestamp()
