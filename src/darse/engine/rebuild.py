"""`darsed --rebuild`: the database made again, while no engine runs.

It begins with the database itself where that is sound, or else with its backup. What lies beside the data (see
`darse.recovery.records`), orphans included, is added to it: where the database is sound and not older than the data,
only what that lacks; otherwise what is beside the data counts, for it is the newer of the two. What there is no copy
of is derived from the data: volumes from their directories, layers from their tar-split metadata, images from
their documents.

The new database is made aside and renamed to its place; the old one is kept among the orphans. A rebuild that is
killed between these two has left the new one whole, and the next begins with that. Nothing else that lies in the data
root is changed, but orphans go back to their places.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from darse.archive.errors import Damaged
from darse.archive.tar_split import TarSplitReader
from darse.containers.model import RECORD_DOCUMENTS, STATE_DOCUMENTS, Status
from darse.core.documents import NewerDocument
from darse.core.events import EVENT_DOCUMENTS
from darse.core.state import State
from darse.engine.engine import DATABASE, SCHEMAS
from darse.engine.rebuild_images import ImagesRebuild, written_by_newer
from darse.images.layers.store import TAR_SPLIT_FILE
from darse.images.snapshots.mounted_images import CHAIN_DOCUMENTS
from darse.linux.fs.files import open_regular, publish, read_regular, sync_directory
from darse.networks.model import NETWORK_DOCUMENTS, SANDBOX_DOCUMENTS, NetworkRecord
from darse.recovery.backup import NAME as BACKUP
from darse.recovery.backup import copy_database
from darse.recovery.orphans import Orphans
from darse.recovery.records import ContainerFile, LayerFile, file_of, read_serial, reading, serial_of
from darse.recovery.startup import holdings
from darse.volumes.model import VOLUME_DOCUMENTS, VolumeRecord
from darse.volumes.mounts import VOLUME_NAME

T = TypeVar("T")
_RAW = msgspec.json.Decoder(list[msgspec.Raw])
_LAYER_FILE = msgspec.json.Decoder(LayerFile)
_CONTAINER_FILE = msgspec.json.Decoder(ContainerFile)
Say = Callable[[str], None]
# The new database, until it is at its place; with a dot before it, one that is not whole.
_WHOLE = "state.rebuilt.sqlite"
_ID = re.compile(r"[0-9a-f]{64}\Z")


def rebuild(data_root: Path, say: Say) -> int:
    """Make the database of a data root again; return how many things could not be taken back.

    Hold the roots' locks meanwhile. `say` gets what is done, a line each. Raises SystemFault, OSError and
    sqlite3.Error; then the old database is in its place, or the next rebuild goes on.
    """
    database, whole, new = (data_root / name for name in (DATABASE, _WHOLE, f".{_WHOLE}"))
    _remove_database(new)
    if os.path.lexists(database):
        _remove_database(whole)
    orphans = Orphans(data_root)
    for orphan in orphans.all():
        if orphan.kind != "database" and orphans.restore(orphan):
            say(f"back in its place: {orphan.origin}")
    is_truth = _begin(data_root, new, say)
    state = State(new, SCHEMAS)
    try:
        lost = _Rebuild(data_root, state, say, is_truth=is_truth).run()
    finally:
        state.close()
    publish(new, whole)
    say("the database is made again")
    for path in (database, *(database.with_name(f"{DATABASE}{suffix}") for suffix in ("-wal", "-journal"))):
        if os.path.lexists(path):
            say(f"the old database is kept: {orphans.set_aside('database', path, 'the database was built again').path}")
    database.with_name(f"{DATABASE}-shm").unlink(missing_ok=True)
    os.rename(whole, database)
    _remove_database(whole)  # what a reader has left beside it
    sync_directory(data_root)
    say(f"{database} is built again: {holdings(data_root) or 'there is nothing in the data root'}")
    return lost


def _remove_database(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)


def _begin(data_root: Path, new: Path, say: Say) -> bool:
    """Copy what to begin with to `new`; whether it is the database itself, and not older than the data."""
    database, whole, backup = (data_root / name for name in (DATABASE, _WHOLE, BACKUP))
    newest = read_serial(data_root)
    sources = {database: "the database", whole: "the database of a rebuild that was cut short,", backup: "the backup"}
    if not whole.exists():
        del sources[whole]
    for source, name in sources.items():
        try:
            with contextlib.closing(reading(source)) as connection:
                if connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None:
                    say(f"{name} {source} is empty")
                    continue
                number = _number(connection)
            copy_database(source, new)
        except (OSError, sqlite3.Error) as error:
            say(f"{name} {source} cannot be used: {error}")
            continue
        # A rebuild counts one up, and no engine has run since.
        is_truth = number >= newest if source == database else source == whole and number > newest
        if source != backup and not is_truth and _is_newer(backup, number):
            say(f"{name} {source} is older than the backup")
            continue
        say(f"beginning with {name} {source}" + ("" if is_truth else f", batch {number} of {newest}"))
        return is_truth
    return False


def _number(connection: sqlite3.Connection) -> int:
    try:
        return serial_of(connection)
    except sqlite3.OperationalError:  # of an engine that counted nothing
        return 0


def _is_newer(backup: Path, number: int) -> bool:
    try:
        with contextlib.closing(reading(backup)) as connection:
            return _number(connection) > number
    except sqlite3.Error:
        return False


class _Rebuild:
    """Brings one database, a copy, up to what lies in the data root."""

    def __init__(self, data_root: Path, state: State, say: Say, *, is_truth: bool) -> None:
        """With `is_truth` the rows that can be read are right."""
        self._root = data_root
        self._state = state
        self._say = say
        self._is_truth = is_truth
        self._lost = 0

    def run(self) -> int:
        """Do it all; return how many things could not be taken back."""
        notes = self._state.rows("SELECT kind, key FROM unfinished") if self._is_truth else []
        with self._state.transaction() as self._connection:
            self._layers()
            images = ImagesRebuild(self._root, self._connection, self._cannot, is_truth=self._is_truth)
            images.run()
            self._networks()
            self._volumes()
            self._containers()
            self._events()
            # What was deleted here was not removed: no note may say so.
            self._connection.execute("DELETE FROM unfinished")
            self._connection.executemany("INSERT INTO unfinished VALUES (?, ?)", notes)
            self._connection.execute("UPDATE serial SET number = ?", (read_serial(self._root) + 1,))
        counts = {
            table: self._state.rows(f"SELECT count(*) FROM {table}")[0][0]  # noqa: S608 - constants
            for table in ("containers", "images", "image_names", "layers", "volumes", "networks")
        }
        self._say(
            "in the new database: " + ", ".join(f"{count} {table.replace('_', ' ')}" for table, count in counts.items())
        )
        return self._lost

    def _cannot(self, text: str) -> None:
        self._lost += 1
        self._say(f"cannot be taken back: {text}")

    def _copy(self, kind: str, key: str, decode: Callable[[bytes], T]) -> T | None:
        """An object's copy beside the data; None when there is none, or a damaged one."""
        try:
            return decode(read_regular(file_of(self._root, kind, key)))
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, NewerDocument) as error:
            self._say(f"the copy of the record of {kind} {key[:71]} cannot be used: {error}")
            return None

    def _entries(self, directory: str) -> list[str]:
        with contextlib.suppress(OSError):
            return sorted(os.listdir(self._root / directory))
        return []

    def _rows(self, query: str) -> Iterator[tuple[str, bytes]]:
        yield from self._connection.execute(query).fetchall()

    # Layers

    def _layers(self) -> None:
        present = {f"sha256:{name}" for name in self._entries("images/layers") if _ID.fullmatch(name)}
        known = {str(key) for (key,) in self._connection.execute("SELECT chain_id FROM layers")}
        if not self._is_truth:
            for chain_id in known - present:
                self._connection.execute("DELETE FROM layers WHERE chain_id = ?", (chain_id,))
        for chain_id in sorted(present - known):
            layer = self._copy("layers", chain_id, _LAYER_FILE.decode) or self._layer_of_tar_split(chain_id)
            if layer is None:
                self._cannot(f"layer {chain_id}: it has neither a copy of its record nor tar-split metadata")
                continue
            row = msgspec.structs.astuple(msgspec.structs.replace(layer, chain_id=chain_id))
            columns = ", ".join(LayerFile.__struct_fields__)
            self._connection.execute(f"INSERT INTO layers ({columns}) VALUES (?, ?, ?, ?, ?, ?)", row)  # noqa: S608

    def _layer_of_tar_split(self, chain_id: str) -> LayerFile | None:
        directory = self._root / "images" / "layers" / chain_id.removeprefix("sha256:")
        try:
            with open(directory / TAR_SPLIT_FILE, "rb", opener=open_regular) as file:
                head = TarSplitReader(file.fileno()).head
            stored_ns = directory.stat().st_mtime_ns
        except (OSError, Damaged):
            return None
        return LayerFile(
            chain_id=chain_id,
            diff_id=f"sha256:{head.digest.hex()}",
            size=head.content,
            stored_ns=stored_ns,
            archive_size=head.length,
        )

    # Networks

    def _network_copies(self) -> list[NetworkRecord] | None:
        raw = self._copy("networks", "", _RAW.decode)
        return self._copy("networks", "", lambda _: [*map(NETWORK_DOCUMENTS.decode, raw)]) if raw is not None else None

    def _networks(self) -> None:
        copies = self._network_copies()
        damaged = self._damaged("SELECT id, document FROM networks", NETWORK_DOCUMENTS.decode)
        for network_id in damaged:
            self._connection.execute("DELETE FROM networks WHERE id = ?", (network_id,))
        if copies is not None and not self._is_truth:
            self._connection.execute("DELETE FROM networks")
        for record in copies or ():
            if not self._is_truth or record.id in damaged:
                self._connection.execute(
                    "INSERT OR REPLACE INTO networks VALUES (?, ?, ?)",
                    (record.id, record.name, NETWORK_DOCUMENTS.encode(record)),
                )
        for network_id in damaged.difference(one.id for one in copies or ()):
            self._cannot(f"network {network_id}: its record is damaged, and there is no copy of it")

    # Volumes

    def _volumes(self) -> None:
        damaged = self._damaged("SELECT name, document FROM volumes", VOLUME_DOCUMENTS.decode)
        known = {str(name) for (name,) in self._connection.execute("SELECT name FROM volumes")}
        present = [
            name
            for name in self._entries("volumes")
            if VOLUME_NAME.fullmatch(name) and (self._root / "volumes" / name / "_data").is_dir()
        ]
        if not self._is_truth:
            for name in known.difference(present):
                self._connection.execute("DELETE FROM volumes WHERE name = ?", (name,))
        for name in present:
            if self._is_truth and name in known and name not in damaged:
                continue
            record = self._copy("volumes", name, VOLUME_DOCUMENTS.decode)
            if record is None:
                if name in known and name not in damaged:
                    continue
                self._say(f"volume {name}: only its directory is left; its labels and options are lost")
                made_ns = (self._root / "volumes" / name).stat().st_ctime_ns
                record = VolumeRecord(name, "local", {}, {}, made_ns)
            self._connection.execute(
                "INSERT OR REPLACE INTO volumes VALUES (?, ?)", (name, VOLUME_DOCUMENTS.encode(record))
            )

    # Containers

    def _containers(self) -> None:
        damaged = self._damaged("SELECT id, record FROM containers", RECORD_DOCUMENTS.decode)
        damaged |= self._damaged("SELECT id, state FROM containers", STATE_DOCUMENTS.decode)
        damaged |= self._damaged("SELECT container_id, chain FROM snapshots", CHAIN_DOCUMENTS.decode)
        damaged |= self._damaged("SELECT container_id, chain FROM mounted_images", CHAIN_DOCUMENTS.decode)
        for one in self._damaged("SELECT container_id, document FROM sandboxes", SANDBOX_DOCUMENTS.decode):
            self._connection.execute("DELETE FROM sandboxes WHERE container_id = ?", (one,))
        known = {str(key) for (key,) in self._connection.execute("SELECT id FROM containers")}
        layers, files = set(self._entries("snapshots")), set(self._entries("containers"))
        if not self._is_truth:
            for container_id in known - layers - files:
                self._delete_container_rows(container_id)
        for container_id in sorted(one for one in layers | files if _ID.fullmatch(one)):
            if self._is_truth and container_id in known and container_id not in damaged:
                continue
            copy = self._copy("containers", container_id, _CONTAINER_FILE.decode)
            if copy is not None and self._take_back(container_id, copy):
                continue
            if container_id not in known or container_id in damaged:
                self._delete_container_rows(container_id)
                self._cannot(
                    f"container {container_id}: there is no record of it; the engine's start moves its files aside"
                )

    def _take_back(self, container_id: str, copy: ContainerFile) -> bool:
        try:
            record = RECORD_DOCUMENTS.decode(bytes(copy.record))
            state = STATE_DOCUMENTS.decode(bytes(copy.state))
        except (msgspec.MsgspecError, NewerDocument) as error:
            self._say(f"the copy of the record of container {container_id} cannot be used: {error}")
            return False
        if state.status is Status.CREATING:
            return False
        self._delete_container_rows(container_id)
        taken = self._connection.execute("SELECT 1 FROM containers WHERE name = ?", (record.name,)).fetchone()
        if taken:
            record = msgspec.structs.replace(record, name=f"{record.name}-{container_id[:12]}")
            self._say(f"container {container_id} is called {record.name} now: another has its name")
        execute = self._connection.execute
        execute(
            "INSERT INTO containers VALUES (?, ?, ?, ?, ?)",
            (container_id, record.name, record.image_id, RECORD_DOCUMENTS.encode(record), bytes(copy.state)),
        )
        execute(
            "INSERT INTO snapshots VALUES (?, ?, ?)", (container_id, copy.image_id, CHAIN_DOCUMENTS.encode(copy.chain))
        )
        for image_id, chain in copy.mounted.items():
            execute(
                "INSERT INTO mounted_images VALUES (?, ?, ?)", (container_id, image_id, CHAIN_DOCUMENTS.encode(chain))
            )
        owners, complete = copy.owners
        if owners:
            execute("INSERT INTO snapshot_owners VALUES (?, ?, ?)", (container_id, owners, complete))
        if bytes(copy.sandbox) != b"null":
            execute("INSERT INTO sandboxes VALUES (?, ?)", (container_id, bytes(copy.sandbox)))
        return True

    def _delete_container_rows(self, container_id: str) -> None:
        self._connection.execute("DELETE FROM containers WHERE id = ?", (container_id,))
        for table in ("snapshots", "mounted_images", "snapshot_owners", "sandboxes"):
            self._connection.execute(f"DELETE FROM {table} WHERE container_id = ?", (container_id,))  # noqa: S608

    def _events(self) -> None:
        for number in self._damaged("SELECT number, document FROM events", EVENT_DOCUMENTS.decode):
            self._connection.execute("DELETE FROM events WHERE number = ?", (number,))

    def _damaged(self, query: str, decode: Callable[[bytes], object]) -> set[str]:
        """The keys of the rows of (key, document) that cannot be read. Raises SystemFault for a newer engine's."""
        found = set()
        for key, document in self._rows(query):
            try:
                decode(document)
            except NewerDocument as error:
                raise written_by_newer(str(key), error) from error
            except (msgspec.MsgspecError, TypeError, ValueError):
                found.add(key)
        return found
