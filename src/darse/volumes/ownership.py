"""Whose ids a volume's files have on the disk.

With `--userns-remap` on file systems without id-mapped mounts they are those of the remapped range (see
`darse.runtime.remapping`). A volume changes owners when a container first needs it under an engine that wants
others. The change is recorded before it begins and when it is complete: what a crash interrupts is begun again, and
nothing is mapped twice.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from darse.archive.errors import ArchiveRefused
from darse.archive.id_mapping import Owners, change_owners
from darse.core import executors
from darse.core.errors import InvalidParameter
from darse.volumes.model import VolumeRecord


async def change_owners_of(record: VolumeRecord, owners: str, data: Path, save: Callable[[VolumeRecord], None]) -> None:
    """Change the owners of all below `data` to those of a range; "": back to what containers see.

    Raises InvalidParameter for what cannot be mapped, and OSError.
    """
    before = record.owners
    try:
        if before and (before != owners or record.changing):
            await _move(record, before, Owners.parse(before).reversed(), data, save, after="")
        if owners:
            await _move(record, owners, Owners.parse(owners), data, save, after=owners)
    except ArchiveRefused as error:
        raise InvalidParameter(f"userns-remap: the files of volume {record.name}: {error}") from error


async def _move(
    record: VolumeRecord, owners: str, mapping: Owners, data: Path, save: Callable[[VolumeRecord], None], *, after: str
) -> None:
    _record(record, owners, save, changing=True)
    await executors.storage.run(change_owners, str(data), mapping)
    _record(record, after, save, changing=False)


def _record(record: VolumeRecord, owners: str, save: Callable[[VolumeRecord], None], *, changing: bool) -> None:
    before = record.owners, record.changing
    record.owners, record.changing = owners, changing
    try:
        save(record)
    except BaseException:
        record.owners, record.changing = before
        raise
