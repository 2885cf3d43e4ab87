"""Copies of records as small files beside the data, so that the data can be taken back without the database.

    <data-root>/records/containers/<id>.json      record, state, layers, owners and network sandbox of a container
    <data-root>/records/volumes/<name>.json       the row of a volume
    <data-root>/records/layers/<hex>.json         the row of a layer
    <data-root>/records/images.json               targets, names, and what no document says of images
    <data-root>/records/networks.json             the rows of networks
    <data-root>/records/serial                    see below

The database is the truth, and these follow it within seconds: triggers of the engine's connection note, in memory,
which rows a transaction has changed, and what is noted is written behind the event loop's back, from the rows as they
are in the database. So no operation waits for a file, and a container that lives for less costs no file at all.

Each batch counts `serial` up in the database, flushed, and then in the file. A database whose number is the lower one
is older than the data: it was put in the place of a newer one, or its write-ahead log was lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from darse.core import executors
from darse.core.errors import EngineError
from darse.core.state import State
from darse.core.unfinished import KINDS, Unfinished
from darse.linux.fs.files import NotRegular, read_regular, write_atomically

#: Seconds after a change until it is written.
_QUIET = 2.0
#: Objects that are written in one go.
_BATCH = 500
# Of a file's name; a longer one is a digest.
_LONGEST = 200
_log = logging.getLogger("darse.records")

# A table, the kind of file that its rows go into, and the column that names the file ('' for the one that is for all).
_WATCHED = (
    ("containers", "containers", "id"),
    ("snapshots", "containers", "container_id"),
    ("mounted_images", "containers", "container_id"),
    ("snapshot_owners", "containers", "container_id"),
    ("sandboxes", "containers", "container_id"),
    ("volumes", "volumes", "name"),
    ("layers", "layers", "chain_id"),
    ("images", "images", ""),
    ("image_targets", "images", ""),
    ("image_names", "images", ""),
    ("layer_blobs", "images", ""),
    ("networks", "networks", ""),
)
# Rows go with their container's; what is left of an object that was removed is its file, which its note takes away.
_DELETED_TOO = ("snapshot_owners", "sandboxes", "images", "image_targets", "image_names", "layer_blobs", "networks")
# No OR IGNORE: the conflict clause of the statement that fires a trigger counts inside of it, too (lang_createtrigger).
_TRIGGER = """
    CREATE TEMP TRIGGER {table}_{action} AFTER {action} ON main.{table} BEGIN
        INSERT INTO changed SELECT '{kind}', {key}
        WHERE NOT EXISTS (SELECT 1 FROM changed WHERE kind = '{kind}' AND key = {key});
    END
"""


_NULL = msgspec.Raw(b"null")


class ContainerFile(msgspec.Struct, kw_only=True):
    """All that the database has of one container."""

    record: msgspec.Raw
    state: msgspec.Raw
    image_id: str
    # The chain IDs of the layers that it stands on, lowest first, and those of the images that it mounts, by their ids.
    chain: list[str]
    mounted: dict[str, list[str]] = {}
    # A range of ids, and whether the change to it is complete.
    owners: tuple[str, bool] = ("", True)
    # The row of its sandbox; null when it has none.
    sandbox: msgspec.Raw = _NULL


class LayerFile(msgspec.Struct, kw_only=True):
    """The row of a layer; sizes in bytes."""

    chain_id: str
    diff_id: str
    size: int
    stored_ns: int
    archive_size: int = -1
    unflushed_boot: str = ""


class ImageRecord(msgspec.Struct, frozen=True):
    """What no document says of an image."""

    id: str
    manifest: str
    parent: str = ""
    stored_ns: int = 0


class ImagesFile(msgspec.Struct, kw_only=True):
    """The targets (as their rows have them), names (reference, target, time), images, and known forms of layers."""

    targets: list[msgspec.Raw]
    names: list[tuple[str, str, int]]
    images: list[ImageRecord]
    blobs: list[tuple[str, str, str, int, str]] = []


class RecordFiles:
    """Writes the files; `read_*` below read them."""

    def __init__(self, data_root: Path, state: State) -> None:
        self._root = data_root
        self._directory = data_root / "records"
        self._state = state
        self._unfinished = Unfinished(state)
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_open = False
        self._failed = False
        self._changed: Callable[[], object] | None = None
        # What could not be written.
        self._again: set[tuple[str, str]] = set()

    def open(self, changed: Callable[[], object]) -> None:
        """Note changes from now on, and call `changed` with each batch.

        All that there is counts as changed once: it is compared with the files.
        """
        for kind in ("containers", "volumes", "layers"):
            (self._directory / kind).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory.chmod(0o700)
        state = self._state
        with state.transaction(durable=False) as connection:
            connection.execute("CREATE TEMP TABLE changed (kind TEXT, key TEXT, PRIMARY KEY (kind, key)) WITHOUT ROWID")
            for table, kind, column in _WATCHED:
                for action in ("INSERT", "UPDATE", *(("DELETE",) if table in _DELETED_TOO else ())):
                    row = "OLD" if action == "DELETE" else "NEW"
                    key = f"{row}.{column}" if column else "''"
                    connection.execute(_TRIGGER.format(table=table, action=action, kind=kind, key=key))
        for table, kind, column in _WATCHED:
            connection.execute(
                f"INSERT OR IGNORE INTO temp.changed SELECT DISTINCT '{kind}', {column or repr('')} FROM main.{table}"  # noqa: S608 - constants
            )
        state.on_every_commit(self._soon)
        self._changed = changed
        self._is_open = True
        self._soon()

    def _soon(self) -> None:
        if self._timer is None and self._task is None and self._is_open:
            self._timer = asyncio.get_running_loop().call_later(_QUIET, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._task = asyncio.create_task(self._write_behind())

    async def _write_behind(self) -> None:
        try:
            while await self.flush():
                pass
        finally:
            self._task = None
            if self._state.row("SELECT 1 FROM temp.changed LIMIT 1") is not None:
                self._soon()

    async def close(self) -> None:
        """Write what is noted."""
        if not self._is_open:
            return
        self._is_open = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            await self._task
        while await self.flush():
            pass

    async def flush(self) -> bool:
        """Write a batch, and return whether there may be more. The next change tries again what cannot be written."""
        rows = self._state.rows("SELECT kind, key FROM temp.changed LIMIT ?", (_BATCH,))
        # What a damaged row was before is in its file only.
        changed = ({(str(kind), str(key)) for kind, key in rows} | self._again) - set(self._damaged())
        notes = self._unfinished.all()
        if not rows and not changed and not notes:
            return False
        self._again = changed
        try:
            number = self._count_up(rows) if rows else 0
            done = await executors.storage.run(self._work, changed, notes, number)
            if done:
                self._unfinished.done(done)
        except (OSError, sqlite3.Error, EngineError) as error:
            if not self._failed:
                _log.warning(
                    "cannot keep copies of records in %s: %s; the next change tries again", self._directory, error
                )
            self._failed = True
            return False
        self._again = set()
        self._failed = False
        if self._changed is not None:
            self._changed()
        return len(rows) == _BATCH

    def _damaged(self) -> Iterator[tuple[str, str]]:
        for table, key in self._state.damaged:
            for watched, kind, column in _WATCHED:
                if watched == table:
                    yield kind, key if column else ""

    def _count_up(self, changed: list[tuple[Any, ...]]) -> int:
        with self._state.transaction() as connection:
            connection.executemany("DELETE FROM temp.changed WHERE kind = ? AND key = ?", changed)
            connection.execute("UPDATE serial SET number = number + 1")
            (number,) = connection.execute("SELECT number FROM serial").fetchone()
        return int(number)

    def _work(self, changed: set[tuple[str, str]], notes: list[tuple[str, str]], number: int) -> list[tuple[str, str]]:
        """Write files, and return the notes that are settled. Runs in a thread, on a connection of its own."""
        with contextlib.closing(reading(self._state.path)) as connection:
            for kind, key in changed:
                content = _CONTENT[kind](connection, key)
                if content is not None:
                    _write(file_of(self._root, kind, key), content)
            settled = [note for note in notes if self._is_settled(connection, *note)]
        if number:
            write_atomically(self._directory / "serial", b"%d\n" % number)
        return settled

    def _is_settled(self, connection: sqlite3.Connection, kind: str, key: str) -> bool:
        if kind in KINDS:
            query = f"SELECT 1 FROM {kind} WHERE {KINDS[kind]} = ?"  # noqa: S608 - constants
            if connection.execute(query, (key,)).fetchone() is not None:
                return True
        if any(path.exists() for path in data_of(self._root, kind, key)):
            return False
        if kind in ("containers", "volumes", "layers"):
            file_of(self._root, kind, key).unlink(missing_ok=True)
        return True


def reading(path: Path) -> sqlite3.Connection:
    """A connection to a database that writes nothing. Raises sqlite3.Error."""
    found = irregular(path)
    if found is not None:
        raise sqlite3.OperationalError(f"not a regular file: {found}")
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None)


def irregular(database: Path) -> Path | None:
    """The file of a database that is none, but a FIFO, say, for whose other end SQLite would wait."""
    files = (database.with_name(f"{database.name}{suffix}") for suffix in ("", "-wal", "-shm", "-journal"))
    return next((file for file in files if os.path.lexists(file) and not file.is_file()), None)


def serial_of(connection: sqlite3.Connection) -> int:
    """The number of the newest batch that a database knows of. Raises sqlite3.Error when it has no such table."""
    found = connection.execute("SELECT number FROM serial").fetchone()
    return int(found[0]) if found else 0


def read_serial(data_root: Path) -> int:
    """The number of the newest batch that was written; 0 when there is none, or the file is damaged."""
    try:
        return int(read_regular(data_root / "records" / "serial"))
    except (OSError, ValueError):
        return 0


def file_of(data_root: Path, kind: str, key: str) -> Path:
    """The file of an object's record."""
    if not key:
        return data_root / "records" / f"{kind}.json"
    name = key.removeprefix("sha256:")
    if len(name) > _LONGEST or "/" in name:
        name = hashlib.sha256(name.encode()).hexdigest()
    return data_root / "records" / kind / f"{name}.json"


def data_of(data_root: Path, kind: str, key: str) -> list[Path]:
    """Where an object's data is."""
    name = key.removeprefix("sha256:")
    if "/" in name:
        return []
    if kind == "containers":
        return [data_root / "containers" / name, data_root / "snapshots" / name]
    if kind == "volumes":
        return [data_root / "volumes" / name]
    if kind == "layers":
        return [data_root / "images" / "layers" / name]
    return [data_root / "images" / "blobs" / "sha256" / name]


def _write(path: Path, content: bytes) -> None:
    with contextlib.suppress(FileNotFoundError, NotRegular):
        if read_regular(path) == content:
            return
    # Not flushed: the database is, and so is its backup.
    write_atomically(path, content, durable=False)


def _container(connection: sqlite3.Connection, container_id: str) -> bytes | None:
    row = connection.execute("SELECT record, state FROM containers WHERE id = ?", (container_id,)).fetchone()
    chain = connection.execute(
        "SELECT image_id, chain FROM snapshots WHERE container_id = ?", (container_id,)
    ).fetchone()
    if row is None or chain is None:
        return None
    mounted = connection.execute("SELECT image_id, chain FROM mounted_images WHERE container_id = ?", (container_id,))
    owners = connection.execute(
        "SELECT owners, complete FROM snapshot_owners WHERE container_id = ?", (container_id,)
    ).fetchone()
    sandbox = connection.execute("SELECT document FROM sandboxes WHERE container_id = ?", (container_id,)).fetchone()
    with contextlib.suppress(msgspec.MsgspecError, TypeError):  # a damaged row leaves the copy that there is
        for document in (*row, *(sandbox or ())):
            msgspec.json.decode(document)
        return msgspec.json.encode(
            ContainerFile(
                record=msgspec.Raw(row[0]),
                state=msgspec.Raw(row[1]),
                image_id=chain[0],
                chain=msgspec.json.decode(chain[1], type=list[str]),
                mounted={image_id: msgspec.json.decode(layers, type=list[str]) for image_id, layers in mounted},
                owners=(owners[0], bool(owners[1])) if owners else ("", True),
                sandbox=msgspec.Raw(sandbox[0]) if sandbox else _NULL,
            )
        )
    return None


def _volume(connection: sqlite3.Connection, name: str) -> bytes | None:
    row = connection.execute("SELECT document FROM volumes WHERE name = ?", (name,)).fetchone()
    return next(_sound(row or ()), None)


def _layer(connection: sqlite3.Connection, chain_id: str) -> bytes | None:
    columns = ", ".join(LayerFile.__struct_fields__)
    row = connection.execute(f"SELECT {columns} FROM layers WHERE chain_id = ?", (chain_id,)).fetchone()  # noqa: S608
    return msgspec.json.encode(LayerFile(**dict(zip(LayerFile.__struct_fields__, row, strict=True)))) if row else None


def _images(connection: sqlite3.Connection, _: str) -> bytes:
    query = (
        "SELECT id, json_extract(text, '$.manifest.digest'), coalesce(json_extract(text, '$.parent'), ''), "
        "coalesce(json_extract(text, '$.stored_ns'), 0) FROM (SELECT id, CAST(document AS TEXT) AS text FROM images) "
        "WHERE json_valid(text)"
    )
    documents = (one for (one,) in connection.execute("SELECT document FROM image_targets"))
    return msgspec.json.encode(
        ImagesFile(
            targets=[msgspec.Raw(one) for one in _sound(documents)],
            names=connection.execute("SELECT reference, target, tagged_ns FROM image_names").fetchall(),
            images=[ImageRecord(*row) for row in connection.execute(query)],
            blobs=connection.execute(
                "SELECT diff_id, digest, repository, size, media_type FROM layer_blobs"
            ).fetchall(),
        )
    )


def _networks(connection: sqlite3.Connection, _: str) -> bytes:
    documents = (one for (one,) in connection.execute("SELECT document FROM networks"))
    return msgspec.json.encode([msgspec.Raw(one) for one in _sound(documents)])


def _sound(documents: Iterable[bytes | str]) -> Iterator[bytes]:
    """Those that are JSON at all; a row that somebody wrote by hand may have text."""
    for document in documents:
        with contextlib.suppress(msgspec.MsgspecError, TypeError):
            msgspec.json.decode(document)
            yield document.encode() if isinstance(document, str) else document


_CONTENT: dict[str, Callable[[sqlite3.Connection, str], bytes | None]] = {
    "containers": _container,
    "volumes": _volume,
    "layers": _layer,
    "images": _images,
    "networks": _networks,
}
