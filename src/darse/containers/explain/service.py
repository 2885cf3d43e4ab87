"""`darse explain`: what was done in the last operations on containers."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec

from darse.containers.dependencies import Dependencies
from darse.containers.explain.runtime_steps import ControlGroup, in_parts, with_asked
from darse.containers.model import Container
from darse.core.errors import NotFound
from darse.core.trace import Operation, Step, named
from darse.linux.fs.files import read_regular


class ExplainService:
    """The operations on record."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies
        self._store = dependencies.store

    def last_operation(self, reference: str, name: str | None) -> Operation:
        """What was done in the last operation on a container. Raises NotFound."""
        traces = self._dependencies.traces
        container = None
        try:
            container = self._store.get(reference)
            container_id = container.id
        except NotFound:
            removed = traces.removed_id(reference)
            if removed is None:
                raise
            container_id = removed
        operation = traces.last(container_id, name, self._dependencies.files.of(container_id).data)
        if container is not None and operation.name == "start":
            operation.steps = self._with_asked(container, operation.steps)
        operation.steps = named(operation.steps, container_id[:12])
        return operation

    def _with_asked(self, container: Container, steps: list[Step]) -> list[Step]:
        """The steps of a start with what the runtime did, as long as the run lasts: its files go with it."""
        bundle = self._dependencies.files.of(container.id).bundle
        with contextlib.suppress(FileNotFoundError):
            spec = msgspec.json.decode(read_regular(bundle.config))
            state = self._dependencies.runtime_of(container).state_directory(container.id)
            group = ControlGroup(self._dependencies.cgroups, self._dependencies.cgroup_path(container))
            return with_asked(in_parts(steps, state, bundle.container_pid), spec, group)
        return steps

    def list_operations(self) -> list[dict[str, Any]]:
        """What operations are on record, see `Traces.summary`."""
        names = {container.id: container.record.name for container in self._store}
        return self._dependencies.traces.summary(
            names, lambda container_id: self._dependencies.files.of(container_id).data
        )
