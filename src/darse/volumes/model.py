"""What is stored of a volume: its driver, options, labels and owners.

Names that nobody gave are made here, too, before the container that has the volume is stored.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping

import msgspec

from darse.core.documents import DocumentCodec
from darse.core.errors import NotFound
from darse.volumes.mounts import MountPlan


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


def name_anonymous(plans: Iterable[MountPlan]) -> None:
    """Choose the names of anonymous volumes.

    Done before a container is stored, its record tells recovery which volumes go with an unfinished creation.
    """
    for plan in plans:
        if plan.type == "volume" and not plan.name:
            plan.name = secrets.token_hex(32)
