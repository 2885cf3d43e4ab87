"""What is stored of a volume."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from darse.core.documents import DocumentCodec
from darse.core.errors import NotFound


class VolumeRecord(msgspec.Struct):
    """A volume, as its row has it."""

    name: str
    driver: str
    options: dict[str, str]
    labels: dict[str, str]
    created_ns: int
    # Whose ids its files have on the disk, as `Owners.parse` reads it; empty: those that containers see.
    owners: str = ""
    # A change of owners has begun.
    changing: bool = False
    # Whether a plugin has the same volumes on other hosts: `global`.
    scope: str = "local"


VOLUME_DOCUMENTS = DocumentCodec(VolumeRecord)


def find_volume(records: Mapping[str, VolumeRecord], name: str) -> VolumeRecord:
    """The record of a name. Raises NotFound."""
    record = records.get(name)
    if record is None:
        raise NotFound(f"get {name}: no such volume")
    return record
