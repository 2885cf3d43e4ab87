"""Contexts that are sent in part: a client lists what it has, and is asked for what was not sent before.

    list of entries ──▶ which are missing ──▶ their contents ──▶ a tree

**Key.** Names a directory of one client, as that client sees it with its patterns: hexadecimal characters that nobody
else can guess (BuildKit's clients have a shared key, our own makes one, see `darse.cli.building.context_tree`). A tree
is kept for each key, and what a client says of its files (`darse.build.context_list`) is believed about the tree of the
same key only: who does not know a key gets at nothing of its tree.

**Source.** The client's end of one transfer, whatever carries it: our own command's connection
(`darse.build.client_contexts`), or fsutil's STAT, REQ and DATA packets.

**Tree.** A directory that has what the list says, held for as long as a build needs it. Its files are those of the tree
before wherever the list has not changed, and nobody changes them in place, nor their owners or modes: snapshots and
layers have the very same files. What was sent again is a new file. So a tree can be read, linked and digested for as
long as it is held, whatever other builds of the same key do meanwhile.

**Life.** The last complete tree of a key stays until it is replaced, or collected (`ContextTrees.all`). A transfer
that does not come to its end changes nothing of what can be seen, whoever ends it; at worst the next one has more to
send.

Names, kinds and links of a list are checked before anything is made of it; what it comes to is made by the confined
worker (`darse.archive.tree_changes`), which sees that tree and nothing else.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from darse.archive import tree_changes
from darse.build.graph.sources import LocalSource


class PieceKind(enum.IntEnum):
    """What a piece says of a file."""

    CONTENT = tree_changes.CONTENT
    """The next bytes of its content."""
    END = tree_changes.END
    """All of its content has come."""
    CHANGED = tree_changes.CHANGED
    """As END, of a file that has changed since it was listed, or may have: it is asked for again the next time."""
    GONE = tree_changes.GONE
    """The file was removed since it was listed: it is not in the tree, and is asked for again the next time."""
    CAPABILITY = tree_changes.CAPABILITY
    """Its attribute `security.capability`; before END."""


class FilePiece(NamedTuple):
    """A part of a file that was asked for.

    Pieces of several files may come by turns, of `tree_changes.MOST_OPEN` at once; those of one come in order, the
    last is END, CHANGED or GONE. Encoded: kind, number and length of the data as a big-endian `BII`, and the data.
    """

    number: int
    """The place of its entry in the list; the first one is 0."""
    data: bytes = b""
    kind: PieceKind = PieceKind.CONTENT

    def encode(self) -> bytes:
        """As it is sent."""
        return tree_changes.PIECE.pack(self.kind, self.number, len(self.data)) + self.data


class ContextSource(Protocol):
    """A client's end of one transfer."""

    def entries(self) -> AsyncIterator[bytes]:
        """Yield the list of what the client has (`darse.build.context_list`), in pieces of any length.

        It is called once, and read to its end before `contents` is called. Raises EngineError where the client is gone.
        """
        ...

    def contents(self, numbers: Sequence[int]) -> AsyncIterator[bytes]:
        """Ask for the contents of regular files, and yield encoded pieces, cut anywhere, to the end of the last file.

        numbers: ascending; those of entries that are regular files and no hard links. It is called once, or not at all
        where nothing is missing. What comes is checked by the worker: pieces of files that were not asked for, or come
        after their end, or never end, refuse the transfer. Raises EngineError where the client is gone.
        """
        ...


class HeldTree(Protocol):
    """A tree that a build holds."""

    @property
    def directory(self) -> Path:
        """Its root."""
        ...

    async def digest(self, source: LocalSource) -> str:
        """The digest of what a source selects of it; computed once for as long as the tree does not change.

        Raises BuildError.
        """
        ...


class ContextTransfers(Protocol):
    """Receives trees, and keeps the last one of each key."""

    def received(
        self, key: str, source: ContextSource, digest: str = "", like: str = "", *, anew: bool = False
    ) -> AbstractAsyncContextManager[HeldTree]:
        """Bring the tree of a key up to date; it is held until the end of the block.

        digest: the SHA-256 of the list, in hexadecimal characters, where the client knows it beforehand: when it is
        that of the tree that is kept, `source` is asked for nothing. like: what the keys of the same directory begin
        with, whatever a client leaves out of it: the first tree of a key begins with the latest of those. anew: nothing
        of what is kept is used, and `source` is asked for everything. Raises InvalidParameter for a key, a list or
        pieces that are refused, SystemFault, and what the source raises.
        """
        ...
