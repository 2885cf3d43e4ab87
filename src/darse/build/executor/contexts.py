"""Local sources: directories that clients have sent, as the executor finds them.

Whoever receives contexts implements `LocalContexts`; the executor only reads. A context is a directory whose files are
never changed in place, nor given other owners or modes: it may be removed, and files in it may be replaced by others,
but snapshots, and layers of images, have the very same files (hard links), so that nothing is copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from darse.build.context.content_digest import NONE_KNOWN, KnownContents
from darse.build.errors import BuildError
from darse.build.graph.sources import LocalSource


class LocalContexts(Protocol):
    """The directories of one build's client, by the names that its graph has for them."""

    def directory(self, name: str, operation: LocalSource | None = None) -> Path:
        """The unpacked files of a local source; it may have more than a source asks for. Raises BuildError.

        operation: the source, where `digest` was called for it.
        """
        ...

    async def digest(self, name: str, operation: LocalSource) -> str:
        """The digest of what a source asks for: equal digests are equal trees for it. Raises BuildError.

        operation: with the patterns, which are part of the digest.
        """
        ...

    def known(self) -> KnownContents:
        """What is known of the contents of their files, for as long as the build runs. Blocks."""
        ...


class NoContexts:
    """For builds whose client has sent nothing."""

    def directory(self, name: str, operation: LocalSource | None = None) -> Path:
        """See LocalContexts."""
        del operation
        raise BuildError(f"no local source {name!r}: the client has sent none")

    async def digest(self, name: str, operation: LocalSource) -> str:
        """See LocalContexts."""
        del operation
        raise BuildError(f"no local source {name!r}: the client has sent none")

    def known(self) -> KnownContents:
        """See LocalContexts."""
        return NONE_KNOWN


class KnownContexts:
    """Directories on this host, each with its digest."""

    def __init__(self, directories: Mapping[str, tuple[Path, str]]) -> None:
        """directories: by name, with the digest of their content."""
        self._directories = directories

    def directory(self, name: str, operation: LocalSource | None = None) -> Path:
        """See LocalContexts."""
        del operation
        return self._find(name)[0]

    async def digest(self, name: str, operation: LocalSource) -> str:
        """See LocalContexts. Patterns make no difference: the digest is that of all there is."""
        del operation
        return self._find(name)[1]

    def known(self) -> KnownContents:
        """See LocalContexts."""
        return NONE_KNOWN

    def _find(self, name: str) -> tuple[Path, str]:
        found = self._directories.get(name)
        if found is None:
            raise BuildError(f"no local source {name!r}: the client has sent {', '.join(self._directories) or 'none'}")
        return found
