"""Steps of a build that failed, with the trees that their processes have left: debuggers look into them."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.json_format import MessageToJson

from darse.build.executor.session import FailedProcess
from darse.build.graph import Definition
from darse.build.service import BuildService
from darse.build.solver import Snapshot, SolveError
from darse.buildkit.encoded_definitions import encoded_operation
from darse.buildkit.solving.lazy_references import SnapshotReference
from darse.buildkit.transport.status import Detail
from darse.buildkit.wire import errdefs_pb2

_TYPE = "github.com/moby/buildkit/errdefs.Solve+json"


class BuildFailures:
    """Those of one build (`darse.build.executor.session.FailedProcesses`)."""

    def __init__(self, service: BuildService) -> None:
        self._service = service
        self._failed: list[FailedProcess] = []
        self.references: dict[str, SnapshotReference] = {}
        """The trees, by names that a client can use."""
        self._names: dict[str, str] = {}

    def add(self, failed: FailedProcess) -> None:
        """See FailedProcesses."""
        self._failed.append(failed)

    def detail_of(self, error: SolveError, graphs: Iterable[Definition]) -> Detail | None:
        """The details of a failed step that a client gets: the step, and its trees before and after it.

        graphs: those of the build; one of them has the step.
        """
        for one in self._failed:
            if one.error is error.__cause__:
                graph = next((graph for graph in graphs if error.vertex in graph.vertices), None)
                solve = errdefs_pb2.Solve(
                    inputIDs=[self._name(tree) for tree in one.before],
                    mountIDs=[self._name(tree) for tree in one.after],
                    op=encoded_operation(graph, error.vertex) if graph is not None else None,
                )
                return Detail(_TYPE, MessageToJson(solve, use_integers_for_enums=True, indent=None).encode())
        return None

    def _name(self, tree: Snapshot | None) -> str:
        if tree is None:
            return ""
        if tree.id not in self._names:
            made = SnapshotReference(tree)
            self.references[made.id] = made
            self._names[tree.id] = made.id
        return self._names[tree.id]

    async def close(self) -> None:
        """Remove the trees."""
        trees = [tree for one in self._failed for tree in (*one.before, *one.after) if tree is not None]
        self._failed.clear()
        for tree in trees:
            await self._service.executor.remove(tree.id)
