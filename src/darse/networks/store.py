"""The rows of networks and sandboxes, and the networks by id and name."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Collection, Iterable, Iterator

import msgspec

from darse.core.documents import NewerDocument
from darse.core.errors import InvalidParameter, NotFound
from darse.core.ids import may_be_id_prefix
from darse.core.state import Damage, Schema, State
from darse.networks.model import (
    ENDPOINT_DOCUMENTS,
    NETWORK_DOCUMENTS,
    SANDBOX_DOCUMENTS,
    Endpoint,
    NetworkRecord,
    SandboxRecord,
)

SCHEMA = Schema(
    "networks",
    (
        """
        CREATE TABLE networks (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, document BLOB NOT NULL) WITHOUT ROWID;
        CREATE TABLE sandboxes (container_id TEXT PRIMARY KEY, document BLOB NOT NULL) WITHOUT ROWID
        """,
        # A network has several pools, of both families.
        """
        UPDATE networks SET document = CAST(json_set(
            json_remove(CAST(document AS TEXT), '$.subnet', '$.gateway', '$.ip_range', '$.reserved'),
            '$.pools', json_array(json_object(
                'id', json_extract(CAST(document AS TEXT), '$.subnet'),
                'subnet', json_extract(CAST(document AS TEXT), '$.subnet'),
                'gateway', json_extract(CAST(document AS TEXT), '$.gateway'),
                'ip_range', json_extract(CAST(document AS TEXT), '$.ip_range'),
                'reserved', json_extract(CAST(document AS TEXT), '$.reserved')
            ))
        ) AS BLOB) WHERE json_valid(CAST(document AS TEXT)) AND json_extract(CAST(document AS TEXT), '$.subnet') <> '';
        CREATE TABLE ended_endpoints (endpoint_id TEXT PRIMARY KEY, document BLOB NOT NULL) WITHOUT ROWID
        """,
    ),
)


class NetworkStore:
    """Networks and sandboxes, in memory and in the database."""

    def __init__(self, state: State) -> None:
        self._state = state
        decode = NETWORK_DOCUMENTS.decode
        self._networks = dict(state.decoded("networks", state.rows("SELECT id, document FROM networks"), decode))
        sandboxes = state.rows("SELECT container_id, document FROM sandboxes")
        #: By their own ids.
        self.sandboxes: dict[str, SandboxRecord] = {}
        # The sandbox of each container that has one, its own or one that it has joined.
        self._sandbox_ids: dict[str, str] = {}
        for _, sandbox in state.decoded("sandboxes", sandboxes, SANDBOX_DOCUMENTS.decode):
            self._remember(sandbox)
        ended = state.rows("SELECT endpoint_id, document FROM ended_endpoints")
        self._ended = dict(state.decoded("ended_endpoints", ended, ENDPOINT_DOCUMENTS.decode))

    def __iter__(self) -> Iterator[NetworkRecord]:
        return iter(list(self._networks.values()))

    def by_name(self, name: str) -> NetworkRecord | None:
        """Return the network of a name."""
        return next((record for record in self._networks.values() if record.name == name), None)

    def damage(self, name: str) -> Damage | None:
        """Why the row of the network of this name cannot be used; None when it can, or there is none."""
        row = self._state.row("SELECT id FROM networks WHERE name = ?", (name,))
        return self._state.damaged.get(("networks", row[0])) if row is not None else None

    def find(self, network_id: str) -> NetworkRecord | None:
        """Return the network of a whole id."""
        return self._networks.get(network_id)

    def get(self, reference: str) -> NetworkRecord:
        """Return a network by id, name or abbreviated id. Raises NotFound and InvalidParameter."""
        found = self._networks.get(reference) or self.by_name(reference)
        if found is not None:
            return found
        if may_be_id_prefix(reference):
            matches = [record for id_, record in self._networks.items() if id_.startswith(reference)]
            if len(matches) == 1:
                return matches[0]
            if matches:
                raise InvalidParameter(
                    f"network {reference} is ambiguous ({len(matches)} matches found based on ID prefix)"
                )
        raise NotFound(f"network {reference} not found")

    def find_reference(self, reference: str) -> NetworkRecord | None:
        """Return a network as `get` does; None when there is none. Raises InvalidParameter for an ambiguous one."""
        try:
            return self.get(reference)
        except NotFound:
            return None

    def save(self, record: NetworkRecord) -> None:
        """Insert or replace a network."""
        with self._state.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO networks VALUES (?, ?, ?)",
                (record.id, record.name, NETWORK_DOCUMENTS.encode(record)),
            )
            self._state.on_commit(functools.partial(self._networks.__setitem__, record.id, record))

    def hide(self, record: NetworkRecord) -> None:
        """Let a network be found no longer, while it is being removed; its row stays until `delete_network`."""
        del self._networks[record.id]

    def unhide(self, record: NetworkRecord) -> None:
        """Undo `hide`."""
        self._networks[record.id] = record

    def delete_network(self, record: NetworkRecord) -> None:
        """Remove a network."""
        with self._state.transaction() as connection:
            connection.execute("DELETE FROM networks WHERE id = ?", (record.id,))
            self._state.on_commit(functools.partial(self._networks.pop, record.id, None))

    def sandbox_of(self, container_id: str) -> SandboxRecord | None:
        """The sandbox of a container, its own or one that it has joined; None without one."""
        return self.sandboxes.get(self._sandbox_ids.get(container_id, ""))

    def _remember(self, sandbox: SandboxRecord) -> None:
        self.sandboxes[sandbox.sandbox_id] = sandbox
        for container_id in (sandbox.container_id, *sandbox.members):
            self._sandbox_ids[container_id] = sandbox.sandbox_id

    def _unindex(self, sandbox: SandboxRecord) -> None:
        self.sandboxes.pop(sandbox.sandbox_id, None)
        for container_id in (sandbox.container_id, *sandbox.members):
            if self._sandbox_ids.get(container_id) == sandbox.sandbox_id:
                del self._sandbox_ids[container_id]

    def reserve(self, sandbox: SandboxRecord) -> None:
        """Let a sandbox that is being made be found, without a row yet."""
        self._remember(sandbox)

    def unreserve(self, sandbox: SandboxRecord) -> None:
        """Undo `reserve`."""
        self._unindex(sandbox)

    def save_sandbox(self, sandbox: SandboxRecord, event: Callable[[], object] = lambda: None) -> None:
        """Insert or replace a sandbox, and publish its `event`. After a reboot it would mean nothing."""
        with self._state.transaction(durable=False) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO sandboxes VALUES (?, ?)",
                (sandbox.container_id, SANDBOX_DOCUMENTS.encode(sandbox)),
            )
            self._state.on_commit(functools.partial(self._replace, sandbox))
            event()

    def _replace(self, sandbox: SandboxRecord) -> None:
        before = self.sandboxes.get(sandbox.sandbox_id)
        if before is not None:
            self._unindex(before)
        self._remember(sandbox)

    def repair(self, copies: bytes | None, names: Collection[str]) -> None:
        """Take networks whose rows are damaged from `copies`, the document of all networks: containers run on them.

        The rows stay as they are, and are reported; but those of these `names`, which the engine itself changes at
        each start, are written again.
        """
        damaged = self._state.damaged_in("networks")
        with contextlib.suppress(msgspec.MsgspecError, NewerDocument):
            for record in map(NETWORK_DOCUMENTS.decode, msgspec.json.decode(copies or b"[]", type=list[msgspec.Raw])):
                if record.id not in damaged:
                    continue
                if record.name in names:
                    self.save(record)
                    del self._state.damaged["networks", record.id]
                else:
                    self._networks[record.id] = record

    def take_back(self, documents: Iterable[bytes], running: Collection[str]) -> None:
        """Insert sandboxes of running containers that have lost their rows."""
        for document in documents:
            with contextlib.suppress(msgspec.MsgspecError, NewerDocument):  # null: it had none
                sandbox = SANDBOX_DOCUMENTS.decode(document)
                if sandbox.container_id in running and self.sandbox_of(sandbox.container_id) is None:
                    self.save_sandbox(sandbox)

    def delete_sandbox(
        self, container_id: str, then: Callable[[SandboxRecord], object] = lambda _: None
    ) -> SandboxRecord | None:
        """Remove and return a container's own sandbox, and call `then` with it once that is on record.

        None when there is none.
        """
        sandbox = self.sandbox_of(container_id)
        if sandbox is None or sandbox.container_id != container_id:
            return None
        with self._state.transaction() as connection:
            connection.execute("DELETE FROM sandboxes WHERE container_id = ?", (container_id,))
            self._state.on_commit(functools.partial(self._unindex, sandbox))
            self._state.on_commit(functools.partial(then, sandbox))
        return sandbox

    def ended(self) -> list[Endpoint]:
        """The endpoints that are to be ended with their drivers, see endpoint_reaper.py."""
        return list(self._ended.values())

    def save_ended(self, endpoint: Endpoint, then: Callable[[], object]) -> None:
        """Put an endpoint that is to be ended on record, and call `then` once that is committed."""
        with self._state.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO ended_endpoints VALUES (?, ?)",
                (endpoint.endpoint_id, ENDPOINT_DOCUMENTS.encode(endpoint)),
            )
            self._state.on_commit(functools.partial(self._ended.__setitem__, endpoint.endpoint_id, endpoint))
            self._state.on_commit(then)

    def delete_ended(self, endpoint: Endpoint) -> None:
        """Take an endpoint off that record: all have heard of its end, or it does not end."""
        with self._state.transaction(durable=False) as connection:
            connection.execute("DELETE FROM ended_endpoints WHERE endpoint_id = ?", (endpoint.endpoint_id,))
            self._state.on_commit(functools.partial(self._ended.pop, endpoint.endpoint_id, None))
