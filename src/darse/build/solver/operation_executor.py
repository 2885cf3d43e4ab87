"""What runs operations. One implementation runs them on this engine; tests have one in memory.

An executor keeps no cache and takes no locks: the solver calls it when all inputs are there, and never twice at a time
for one cache key. Everything that it returns is a snapshot that stays until `remove`. A call that is cancelled leaves
nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

import msgspec

from darse.build.graph.operations import DiffOperation, ExecOperation, FileOperation, MergeOperation
from darse.build.graph.selectors import Selector
from darse.build.graph.sources import SourceOperation


class Snapshot(msgspec.Struct, frozen=True):
    """An immutable tree."""

    id: str
    size: int = 0
    """Bytes that it adds to what it is made from."""


Inputs: TypeAlias = Sequence[Snapshot]
WriteLog: TypeAlias = Callable[[int, bytes], None]
"""Takes what a process writes: 1 is its standard output, 2 its standard error."""


class OperationExecutor(Protocol):
    """Runs operations. Every method raises BuildError for what users can mend."""

    async def resolve_source(self, source: SourceOperation, platform: str) -> str:
        """The identity of what a source has now: a manifest's digest, a commit, the digest of a directory's content.

        Equal identities of one kind of source are equal trees.
        """
        ...

    async def fetch(self, source: SourceOperation, platform: str, identity: str) -> Snapshot:
        """The tree of a source."""
        ...

    def check_allowed(self, operation: ExecOperation) -> None:
        """Raise BuildError where the client of this build has not allowed what a process does, cached or not."""
        ...

    async def run(
        self,
        operation: ExecOperation,
        platform: str,
        inputs: Inputs,
        cache_directories: Mapping[int, str],
        log: WriteLog,
    ) -> Sequence[Snapshot]:
        """Run a process. cache_directories: for each mount of a cache by its position, the directory's id."""
        ...

    async def change_files(self, operation: FileOperation, platform: str, inputs: Inputs) -> Sequence[Snapshot]:
        """Change files."""
        ...

    async def merge(self, operation: MergeOperation, inputs: Inputs) -> Snapshot:
        """Lay trees over each other."""
        ...

    async def diff(self, operation: DiffOperation, inputs: Inputs) -> Snapshot:
        """Subtract a tree from another."""
        ...

    async def content_digest(self, snapshot: Snapshot, selectors: Sequence[Selector]) -> str:
        """The digest of a part of a tree: names, types, owners, modes, content; no times. No selector is all of it."""
        ...

    async def exists(self, snapshot: str) -> bool:
        """Whether a snapshot of an earlier build is still there."""
        ...

    async def remove(self, snapshot: str) -> None:
        """Remove a snapshot that nothing uses."""
        ...
