"""The last operation of each kind on each container, for `darse explain`.

Kept encoded (some kilobytes each), written beside the container's files after the operation, off its path. What was
recorded of a removed container is kept for the newest `_REMOVED_KEPT` of them, in memory.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from darse.core import executors, spans, trace
from darse.core.errors import NotFound
from darse.core.trace import Operation
from darse.linux.fs.files import NotRegular, read_regular, write_atomically

_REMOVED_KEPT = 128
# How a container goes: of little interest to the user, unless it is asked for by name.
_ENDINGS = frozenset({"stop", "kill", "exit", "rm"})
_FILE = "operations.msgpack"


class TraceStore:
    """The operations of all containers."""

    def __init__(self) -> None:
        self._encoded: dict[str, dict[str, bytes]] = {}
        self._removed: OrderedDict[str, dict[str, bytes]] = OrderedDict()
        self._names: dict[str, str] = {}

    @contextmanager
    def record(self, name: str, container_id: str) -> Iterator[Operation]:
        """Record the block as operation `name`."""
        operation = trace.begin(name, container_id)
        try:
            with spans.span_of(operation.operation), operation as recorded:
                yield recorded
        finally:
            operations = self._removed.get(container_id)
            if operations is None:
                operations = self._encoded.setdefault(container_id, {})
            operations[name] = msgspec.msgpack.encode(operation.operation)

    def last(self, container_id: str, name: str | None, directory: Path) -> Operation:
        """Return the newest operation called `name`; without one the newest that is no ending, or the newest of all.

        Raises NotFound, naming the operations that there are.
        """
        decoded = {operation.name: operation for operation in self.all_of(container_id, directory)}
        if name is None and decoded:
            listed = [operation for operation in decoded.values() if operation.name not in _ENDINGS]
            return max(listed or decoded.values(), key=lambda operation: operation.started_at_ns)
        if name in decoded:
            return decoded[name]
        known = ", ".join(sorted(decoded)) or "none"
        asked = f'"{name}"' if name else "operation"
        raise NotFound(f"no {asked} is on record for container {container_id[:12]} (on record: {known})")

    def all_of(self, container_id: str, directory: Path) -> list[Operation]:
        """Every operation on record for a container."""
        operations = self._encoded.get(container_id) or self._removed.get(container_id) or _read(directory / _FILE)
        return [msgspec.msgpack.decode(data, type=Operation) for data in operations.values()]

    def summary(self, names: Mapping[str, str], directory_of: Callable[[str], Path]) -> list[dict[str, Any]]:
        """Every operation on record without its steps, the newest first; `names` are those of the containers there."""
        found = []
        for container_id in {*names, *self._encoded, *self._removed}:
            name = names.get(container_id) or self._names.get(container_id, "")
            for operation in self.all_of(container_id, directory_of(container_id)):
                document = msgspec.structs.asdict(operation) | {"steps": len(operation.steps), "container": name}
                found.append({**document, "id": document.pop("subject")})
        return sorted(found, key=lambda one: -int(one["started_at_ns"]))

    def removed_id(self, reference: str) -> str | None:
        """Return the id of a removed container that is still on record, by its name, its id or the id's beginning."""
        for container_id in reversed(self._removed):
            if self._names.get(container_id) == reference or container_id.startswith(reference):
                return container_id
        return None

    async def save(self, container_id: str, directory: Path) -> None:
        """Write what is on record into the container's directory."""
        operations = dict(self._encoded.get(container_id, {}))
        await executors.storage.run(_write, directory / _FILE, operations)

    def container_removed(self, container_id: str, name: str) -> None:
        """The container is removed: keep its record for a while only."""
        self._names[container_id] = name
        self._removed[container_id] = self._encoded.pop(container_id, {})
        while len(self._removed) > _REMOVED_KEPT:
            oldest, _ = self._removed.popitem(last=False)
            self._names.pop(oldest, None)


def _read(path: Path) -> dict[str, bytes]:
    try:
        return msgspec.msgpack.decode(read_regular(path), type=dict[str, bytes])
    except (FileNotFoundError, NotRegular, msgspec.MsgspecError):
        return {}


def _write(path: Path, operations: dict[str, bytes]) -> None:
    # Removed meanwhile, or the disk is full: it is for `explain` only.
    with contextlib.suppress(OSError):
        write_atomically(path, msgspec.msgpack.encode(operations), durable=False)
